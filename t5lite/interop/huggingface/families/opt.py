"""OPT: ``OPTForCausalLM``. Its position table has two rows before position 0.

The 350M model has post-norm and a narrow embedding table with a projection on either side.
"""

from typing import Any

from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    ONLY_PLAIN,
    OTHER_HEADS,
    Family,
    Tokens,
    Values,
    head_width,
    initial_std,
    same_heads,
    tied_head,
    token_ids_of_decoder,
    unit_logit_scale,
)
from t5lite.interop.huggingface.tensor_rules import Rule, dense, linear, norm, table
from t5lite.models.config import (
    Activation,
    AttentionConfig,
    DecoderOnlyConfig,
    LayerNorm,
    LearnedPositions,
    NormalInitializer,
    PlainMLP,
)

_OFFSET = 2
_NORM_EPSILON = 1e-5  # PyTorch's, which OPT's configuration cannot change
_TABLE, _HEAD = "model.decoder.embed_tokens.weight", "lm_head.weight"
_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_SHAPE: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (LearnedPositions(offset=_OFFSET),),
    "norm": (LayerNorm,),
    "norm.bias": (True,),
    "norm.epsilon": (_NORM_EPSILON,),
    "norm_placement": ("pre", "post"),
    "embedding_norm": (False,),
    "mlp": (PlainMLP,),
    "mlp.activation": tuple(dict.fromkeys(_ACTIVATIONS.values())),
    "mlp.bias": (True,),
    "parallel_block": (False,),
    "prefix_attention": ("causal",),
    "attention.biases": ("all",),
    "attention.scaled": (True,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    # Without, the linear layers have no bias but the norms do; here both have or both have not.
    "enable_bias": (True,),
    "layer_norm_elementwise_affine": (True,),
    # A checkpoint from before transformers 4.20 without the norm after the last layer.
    "_remove_final_layer_norm": (False,),
}


def _mismatches(config: DecoderOnlyConfig) -> list[str]:
    phrases = differences(config, _SHAPE) + same_heads(config) + head_width(config) + unit_logit_scale(config)
    if config.table_dim == config.embed_dim:
        phrases.append(f"table_dim={config.table_dim} with projections between equal widths")
    return phrases


def _rules(config: DecoderOnlyConfig) -> tuple[Rule, ...]:
    del config
    layer, ours = "model.decoder.layers.{}", "decoder/layers"
    attention, mlp = f"{ours}/self_attention", f"{ours}/mlp"
    projections: list[Rule] = []
    for short, name in (("q", "query"), ("k", "key"), ("v", "value")):
        leaf = f"{attention}/{name}"
        projections += dense(f"{layer}.self_attn.{short}_proj", leaf, bias=f"{leaf}_bias")
    return (
        table(_TABLE, "token_embedder/embedding"),
        linear(_HEAD, "logits/kernel"),
        linear("model.decoder.project_in.weight", "token_embedder/projection_in"),
        linear("model.decoder.project_out.weight", "token_embedder/projection_out"),
        table("model.decoder.embed_positions.weight", "decoder/positions/embedding"),
        *norm("model.decoder.final_layer_norm", "decoder/final_norm"),
        *norm(f"{layer}.self_attn_layer_norm", f"{ours}/self_attention_norm"),
        *projections,
        *dense(f"{layer}.self_attn.out_proj", f"{attention}/out", bias=f"{attention}/out_bias"),
        *norm(f"{layer}.final_layer_norm", f"{ours}/mlp_norm"),
        *dense(f"{layer}.fc1", f"{mlp}/wi", bias=f"{mlp}/wi_bias"),
        *dense(f"{layer}.fc2", f"{mlp}/wo", bias=f"{mlp}/wo_bias"),
    )


def _to_json(config: DecoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.mlp.activation)
    return {
        "model_type": "opt",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.num_layers,
        "ffn_dim": config.mlp_dim,
        "max_position_embeddings": config.max_length,
        "do_layer_norm_before": config.norm_placement == "pre",
        "_remove_final_layer_norm": False,
        "word_embed_proj_dim": config.width_of_table,
        "dropout": config.dropout_rate,
        "attention_dropout": config.dropout_rate,
        "layerdrop": 0.0,
        "num_attention_heads": config.num_heads,
        "activation_function": activation,
        "init_std": initial_std(config),
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "pad_token_id": tokens["pad"],
        "torch_dtype": dtype,
    }


def _from_json(values: Values) -> DecoderOnlyConfig:
    values.require(_SUPPORTED)
    values.architectures(("OPTForCausalLM", "OPTModel"))
    embed_dim, num_heads = values.integer("hidden_size", 768), values.integer("num_attention_heads", 12)
    table_dim = values.integer("word_embed_proj_dim", embed_dim)
    return DecoderOnlyConfig(
        vocab_size=values.integer("vocab_size", 50272),
        embed_dim=embed_dim,
        mlp_dim=values.integer("ffn_dim", 3072),
        head_dim=values.head_dim("hidden_size", embed_dim, "num_attention_heads", num_heads),
        num_heads=num_heads,
        num_layers=values.integer("num_hidden_layers", 12),
        positions=LearnedPositions(offset=_OFFSET),
        max_length=values.integer("max_position_embeddings", 2048),
        norm=LayerNorm(epsilon=_NORM_EPSILON),
        norm_placement="pre" if values.flag("do_layer_norm_before", True) else "post",
        mlp=PlainMLP(activation=values.choice("activation_function", _ACTIVATIONS, "relu"), bias=True),
        attention=AttentionConfig(scaled=True, biases="all"),
        tie_embeddings=values.flag("tie_word_embeddings", True),
        table_dim=None if table_dim == embed_dim else table_dim,
        initializer=NormalInitializer(std=values.number("init_std", 0.02), scaled_outputs=True),
        dropout_rate=values.number("dropout", 0.1),
    )


FAMILY = Family(
    model_types=("opt",),
    architecture=DecoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda _: "OPTForCausalLM",
    to_json=_to_json,
    generation_json=token_ids_of_decoder,
    from_json=_from_json,
    rules=_rules,
    prefix="model.",
    heads=("lm_head.",),
    copies=tied_head(_HEAD, _TABLE),
    optional_parts=OTHER_HEADS,
)

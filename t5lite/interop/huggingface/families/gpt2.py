"""GPT-2 (and GPT-3's dense shapes): ``GPT2LMHeadModel``.

Its ``Conv1D`` weights are ``[in, out]``, as kernels are here, and one of them holds query, key and value.
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
    unit_logit_scale,
)
from t5lite.interop.huggingface.tensor_rules import Rule, conv1d, linear, norm, table, vector
from t5lite.models.config import (
    Activation,
    AttentionConfig,
    DecoderOnlyConfig,
    LayerNorm,
    LearnedPositions,
    NormalInitializer,
    PlainMLP,
)

_TABLE, _HEAD = "transformer.wte.weight", "lm_head.weight"
_ACTIVATIONS: dict[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}
_SHAPE: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (LearnedPositions(),),
    "norm": (LayerNorm,),
    "norm.bias": (True,),
    "norm_placement": ("pre",),
    "embedding_norm": (False,),
    "mlp": (PlainMLP,),
    "mlp.activation": tuple(dict.fromkeys(_ACTIVATIONS.values())),
    "mlp.bias": (True,),
    "parallel_block": (False,),
    "prefix_attention": ("causal",),
    "attention.biases": ("all",),
    "table_dim": (None,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}


def _mismatches(config: DecoderOnlyConfig) -> list[str]:
    return differences(config, _SHAPE) + same_heads(config) + head_width(config) + unit_logit_scale(config)


def _rules(config: DecoderOnlyConfig) -> tuple[Rule, ...]:
    del config
    block, ours = "transformer.h.{}", "decoder/layers"
    attention, mlp = f"{ours}/self_attention", f"{ours}/mlp"
    fused = [f"{attention}/{name}" for name in ("query", "key", "value")]
    return (
        table(_TABLE, "token_embedder/embedding"),
        linear(_HEAD, "logits/kernel"),
        table("transformer.wpe.weight", "decoder/positions/embedding"),
        *norm("transformer.ln_f", "decoder/final_norm"),
        *norm(f"{block}.ln_1", f"{ours}/self_attention_norm"),
        conv1d(f"{block}.attn.c_attn.weight", *fused),
        vector(f"{block}.attn.c_attn.bias", *(f"{leaf}_bias" for leaf in fused)),
        conv1d(f"{block}.attn.c_proj.weight", f"{attention}/out"),
        vector(f"{block}.attn.c_proj.bias", f"{attention}/out_bias"),
        *norm(f"{block}.ln_2", f"{ours}/mlp_norm"),
        conv1d(f"{block}.mlp.c_fc.weight", f"{mlp}/wi"),
        vector(f"{block}.mlp.c_fc.bias", f"{mlp}/wi_bias"),
        conv1d(f"{block}.mlp.c_proj.weight", f"{mlp}/wo"),
        vector(f"{block}.mlp.c_proj.bias", f"{mlp}/wo_bias"),
    )


def _to_json(config: DecoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.mlp.activation)
    return {
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.max_length,
        "n_embd": config.embed_dim,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.mlp_dim,
        "activation_function": activation,
        "resid_pdrop": config.dropout_rate,
        "embd_pdrop": config.dropout_rate,
        "attn_pdrop": config.dropout_rate,
        "layer_norm_epsilon": config.norm.epsilon,
        "initializer_range": initial_std(config),
        "scale_attn_weights": config.attention.scaled,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": tokens["bos"] if tokens["bos"] is not None else tokens["eos"],
        "eos_token_id": tokens["eos"],
        "torch_dtype": dtype,
    }


def _from_json(values: Values) -> DecoderOnlyConfig:
    values.require(_SUPPORTED)
    values.architectures(("GPT2LMHeadModel", "GPT2Model"))
    embed_dim, num_heads = values.integer("n_embd", 768), values.integer("n_head", 12)
    return DecoderOnlyConfig(
        vocab_size=values.integer("vocab_size", 50257),
        embed_dim=embed_dim,
        mlp_dim=values.integer("n_inner", 4 * embed_dim),
        head_dim=values.head_dim("n_embd", embed_dim, "n_head", num_heads),
        num_heads=num_heads,
        num_layers=values.integer("n_layer", 12),
        positions=LearnedPositions(),
        max_length=values.integer("n_positions", 1024),
        norm=LayerNorm(epsilon=values.number("layer_norm_epsilon", 1e-5)),
        mlp=PlainMLP(activation=values.choice("activation_function", _ACTIVATIONS, "gelu_new"), bias=True),
        attention=AttentionConfig(scaled=values.flag("scale_attn_weights", True), biases="all"),
        tie_embeddings=values.flag("tie_word_embeddings", True),
        initializer=NormalInitializer(std=values.number("initializer_range", 0.02), scaled_outputs=True),
        dropout_rate=values.number("resid_pdrop", 0.1),
    )


def _generation_json(config: DecoderOnlyConfig, tokens: Tokens) -> dict[str, Any]:
    del config
    return {"eos_token_id": tokens["eos"], "pad_token_id": tokens["pad"]}


FAMILY = Family(
    model_types=("gpt2",),
    marks=("n_embd", "n_layer"),
    architecture=DecoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda _: "GPT2LMHeadModel",
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    rules=_rules,
    prefix="transformer.",
    heads=("lm_head.",),
    copies=tied_head(_HEAD, _TABLE),
    optional_parts=OTHER_HEADS,
    # The causal mask, which earlier versions saved.
    ignorable=(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",),
)

"""Llama: ``LlamaForCausalLM``, with grouped-query attention or without, its head tied or not."""

from typing import Any, cast

from t5lite.core.errors import UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    ONLY_PLAIN,
    OTHER_HEADS,
    Family,
    Tokens,
    Values,
    initial_std,
    tied_head,
    token_ids_of_decoder,
    unit_logit_scale,
)
from t5lite.interop.huggingface.tensor_rules import Rule, linear, norm, table
from t5lite.models.config import (
    DecoderOnlyConfig,
    GatedMLP,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
    Unscaled,
)

_TABLE, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_SHAPE: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (RotaryPositions,),
    "positions.scaling": (Unscaled(),),
    "norm": (RMSNorm,),
    "norm.one_plus": (False,),
    "norm_placement": ("pre",),
    "embedding_norm": (False,),
    "mlp": (GatedMLP(activation="silu"),),
    "parallel_block": (False,),
    "prefix_attention": ("causal",),
    "attention.biases": ("none",),
    "attention.scaled": (True,),
    "table_dim": (None,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "is_encoder_decoder": (False,),
}


def _mismatches(config: DecoderOnlyConfig) -> list[str]:
    phrases = differences(config, _SHAPE) + unit_logit_scale(config)
    if config.embed_dim % config.num_heads:
        phrases.append(f"embed_dim={config.embed_dim}, no multiple of num_heads={config.num_heads}")
    return phrases


def _rules(config: DecoderOnlyConfig) -> tuple[Rule, ...]:
    del config
    layer, ours = "model.layers.{}", "decoder/layers"
    attention, mlp = f"{ours}/self_attention", f"{ours}/mlp"
    return (
        table(_TABLE, "token_embedder/embedding"),
        linear(_HEAD, "logits/kernel"),
        *norm("model.norm", "decoder/final_norm"),
        *norm(f"{layer}.input_layernorm", f"{ours}/self_attention_norm"),
        linear(f"{layer}.self_attn.q_proj.weight", f"{attention}/query"),
        linear(f"{layer}.self_attn.k_proj.weight", f"{attention}/key"),
        linear(f"{layer}.self_attn.v_proj.weight", f"{attention}/value"),
        linear(f"{layer}.self_attn.o_proj.weight", f"{attention}/out"),
        *norm(f"{layer}.post_attention_layernorm", f"{ours}/mlp_norm"),
        linear(f"{layer}.mlp.gate_proj.weight", f"{mlp}/wi_0"),
        linear(f"{layer}.mlp.up_proj.weight", f"{mlp}/wi_1"),
        linear(f"{layer}.mlp.down_proj.weight", f"{mlp}/wo"),
    )


def _to_json(config: DecoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return config.json's content; transformers 4 reads ``rope_theta``, 5 ``rope_parameters``."""
    base = cast(RotaryPositions, config.positions).base  # by _SHAPE
    return {
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_length,
        "initializer_range": initial_std(config),
        "rms_norm_eps": config.norm.epsilon,
        "rope_theta": base,
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": config.dropout_rate,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "pad_token_id": tokens["pad"],
        "torch_dtype": dtype,
    }


def _from_json(values: Values) -> DecoderOnlyConfig:
    values.require(_SUPPORTED)
    values.architectures(("LlamaForCausalLM", "LlamaModel"))
    embed_dim, num_heads = values.integer("hidden_size", 4096), values.integer("num_attention_heads", 32)
    kv_heads = values.integer("num_key_value_heads", num_heads)
    head_dim = values.integer("head_dim") if values.get("head_dim") is not None else None
    if head_dim is None:
        head_dim = values.head_dim("hidden_size", embed_dim, "num_attention_heads", num_heads)
    return DecoderOnlyConfig(
        vocab_size=values.integer("vocab_size", 32000),
        embed_dim=embed_dim,
        mlp_dim=values.integer("intermediate_size", 11008),
        head_dim=head_dim,
        num_heads=num_heads,
        num_kv_heads=None if kv_heads == num_heads else kv_heads,
        num_layers=values.integer("num_hidden_layers", 32),
        max_length=values.integer("max_position_embeddings", 2048),
        positions=RotaryPositions(base=_rotary_base(values)),
        norm=RMSNorm(epsilon=values.number("rms_norm_eps", 1e-6)),
        tie_embeddings=values.flag("tie_word_embeddings", False),
        initializer=NormalInitializer(std=values.number("initializer_range", 0.02)),
        dropout_rate=values.number("attention_dropout", 0.0),
    )


def _rotary_base(values: Values) -> float:
    """Return the base of the plain rotary positions.

    Raises:
      UserError: if the frequencies are changed by a scaling (linear, dynamic, yarn, llama3 …).
    """
    for key in ("rope_parameters", "rope_scaling"):
        parameters = values.get(key, {})
        if not isinstance(parameters, dict):
            raise UserError(f"config.json: {key}={parameters!r} must be an object")
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind != "default":
            raise UserError(
                f"config.json: {key} has rope_type={kind!r}, which changes the rotary frequencies; allowed: "
                "'default'. Llama 3.1 and later and long-context variants cannot be imported, Llama 1, 2 and "
                "3 can"
            )
        if "rope_theta" in parameters:
            return Values(parameters).number("rope_theta", 10_000.0)
    return values.number("rope_theta", 10_000.0)


FAMILY = Family(
    model_types=("llama",),
    architecture=DecoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda _: "LlamaForCausalLM",
    to_json=_to_json,
    generation_json=token_ids_of_decoder,
    from_json=_from_json,
    rules=_rules,
    prefix="model.",
    heads=("lm_head.",),
    copies=tied_head(_HEAD, _TABLE),
    optional_parts=OTHER_HEADS,
    # Frequencies of the rotary positions, which earlier versions saved.
    ignorable=(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.(inv_freq|cos_cached|sin_cached)",),
)

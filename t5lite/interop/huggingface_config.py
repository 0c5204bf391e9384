"""config.json and generation_config.json of a Hugging Face T5, from and to ``EncoderDecoderConfig``.

transformers 5 ties the embeddings of every T5 unless the weights say otherwise, and keeps the difference
between T5 1.0 and 1.1 in ``scale_decoder_outputs``; transformers 4 knows only ``tie_word_embeddings``. So
both are written, and reading goes by the tensors where the file leaves it open.
"""

from typing import Any, Literal

from t5lite.core.errors import CheckpointError, UserError
from t5lite.models.config import EncoderDecoderConfig

_ACTIVATIONS: dict[str, Literal["relu", "gated_gelu"]] = {"relu": "relu", "gated-gelu": "gated_gelu"}

# Values that T5 has in transformers when config.json does not say, and the only ones the model here can take.
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("t5",),
    "feed_forward_proj": tuple(_ACTIVATIONS),
    "is_encoder_decoder": (True,),
    "pad_token_id": (0,),
    "eos_token_id": (1,),
    "decoder_start_token_id": (0,),
}
_ARCHITECTURES = ("T5ForConditionalGeneration", "T5WithLMHeadModel")
_HIDDEN_ACTIVATION = {"relu": ("relu", False), "gated-gelu": ("gelu_new", True)}


def to_huggingface(config: EncoderDecoderConfig, *, dtype: str) -> dict[str, Any]:
    """Return config.json's content for weights of ``dtype``; transformers 4 and 5 read it alike."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": config.vocab_size,
        "d_model": config.embed_dim,
        "d_ff": config.mlp_dim,
        "d_kv": config.head_dim,
        "num_heads": config.num_heads,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "relative_attention_num_buckets": config.relpos_buckets,
        "relative_attention_max_distance": config.relpos_max_distance,
        "feed_forward_proj": config.mlp_activation.replace("_", "-"),
        "dropout_rate": config.dropout_rate,
        "layer_norm_epsilon": config.norm_epsilon,
        "initializer_factor": 1.0,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.tie_embeddings,
        "is_encoder_decoder": True,
        "use_cache": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "torch_dtype": dtype,
    }


def generation_config(config: EncoderDecoderConfig) -> dict[str, Any]:
    """Return generation_config.json's content: greedy, from the pad id, until EOS.

    The cache is switched off for a decoder deeper than its encoder: transformers 5 (5.23) makes a cache of
    as many layers as the encoder has, and ``generate`` then fails with ``list index out of range``.
    """
    values: dict[str, Any] = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    if config.num_decoder_layers > config.num_encoder_layers:
        values["use_cache"] = False
    return values


def from_huggingface(
    values: dict[str, Any], *, has_own_head: bool, param_dtype: Literal["float32", "bfloat16"] = "float32"
) -> EncoderDecoderConfig:
    """Return the configuration that config.json describes.

    Args:
      values: config.json's content.
      has_own_head: whether the tensors hold an ``lm_head.weight`` that differs from ``shared.weight``.
      param_dtype: dtype the parameters will be held in.

    Raises:
      UserError: for a model that differs from T5 1.0 and 1.1, naming key, value and what is allowed.
      CheckpointError: if a size is missing or not a number.
    """
    _check_supported(values)
    num_encoder_layers = _number(values, "num_layers")
    return EncoderDecoderConfig(
        vocab_size=_number(values, "vocab_size"),
        embed_dim=_number(values, "d_model"),
        mlp_dim=_number(values, "d_ff"),
        head_dim=_number(values, "d_kv"),
        num_heads=_number(values, "num_heads"),
        num_encoder_layers=num_encoder_layers,
        num_decoder_layers=_number(values, "num_decoder_layers", default=num_encoder_layers),
        mlp_activation=_ACTIVATIONS[values.get("feed_forward_proj") or "relu"],
        tie_embeddings=_tied(values, has_own_head),
        relpos_buckets=_number(values, "relative_attention_num_buckets", default=32),
        relpos_max_distance=_number(values, "relative_attention_max_distance", default=128),
        dropout_rate=_fraction(values, "dropout_rate", default=0.1),
        norm_epsilon=_fraction(values, "layer_norm_epsilon", default=1e-6),
        param_dtype=param_dtype,
    )


def _tied(values: dict[str, Any], has_own_head: bool) -> bool:
    """Return whether the model is tied and scaled (1.0) rather than untied and unscaled (1.1)."""
    scaled = values.get("scale_decoder_outputs")
    if scaled is None:
        # transformers 4's key. A head of its own overrules True: some versions wrote True for every T5.
        scaled = values.get("tie_word_embeddings") is not False and not has_own_head
    if scaled and has_own_head:
        raise UserError(
            "scale_decoder_outputs=True with an lm_head.weight that differs from shared.weight is neither T5 "
            "1.0 nor 1.1; allowed: True without an lm_head.weight of its own, or False"
        )
    return bool(scaled)


def _check_supported(values: dict[str, Any]) -> None:
    for key, allowed in _FIXED.items():
        # transformers leaves a key out, or writes null, where the value is the class's default.
        if values.get(key) is not None and values[key] not in allowed:
            raise _unsupported(key, values[key], allowed)
    architectures = values.get("architectures") or [_ARCHITECTURES[0]]
    if not isinstance(architectures, list) or not any(name in architectures for name in _ARCHITECTURES):
        raise _unsupported("architectures", architectures, _ARCHITECTURES)
    activation, gated = _HIDDEN_ACTIVATION[values.get("feed_forward_proj") or "relu"]
    # Derived from feed_forward_proj when saved, but where config.json has them, they are what counts.
    for key, expected in (("dense_act_fn", activation), ("is_gated_act", gated)):
        if values.get(key, expected) != expected:
            raise _unsupported(key, values[key], (expected,))


def _unsupported(key: str, value: Any, allowed: tuple[Any, ...]) -> UserError:
    choices = ", ".join(repr(choice) for choice in allowed)
    return UserError(
        f"config.json: {key}={value!r} is not supported; allowed: {choices} (T5 1.0 and 1.1 of transformers)"
    )


def _number(values: dict[str, Any], key: str, *, default: int | None = None) -> int:
    value = values.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"config.json: {key}={value!r} must be an integer")
    return value


def _fraction(values: dict[str, Any], key: str, *, default: float) -> float:
    value = values.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CheckpointError(f"config.json: {key}={value!r} must be a number")
    return float(value)

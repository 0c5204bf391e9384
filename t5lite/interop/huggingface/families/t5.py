"""T5 1.0 and 1.1 (Flan-T5, ByT5, UL2 …), mT5 and umT5: ``T5ForConditionalGeneration`` and its two sisters.

transformers 5 ties the embeddings of every T5 unless the weights say otherwise, and keeps the difference
between T5 1.0 and 1.1 in ``scale_decoder_outputs``; transformers 4 knows only ``tie_word_embeddings``. So
both are written, and reading goes by the tensors where the file leaves it open.

mT5's logits are never scaled (as in transformers 5; in 4 they are if ``tie_word_embeddings`` is true, which
no published mT5 has). umT5's are by the letter of config.json: transformers 5 overrides its
``tie_word_embeddings: false`` and multiplies the logits of every umT5 by d_model^-0.5, the published ones
included, which changes probabilities and not the most likely token.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any, cast

from t5lite.core.errors import UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    ONLY_PLAIN,
    Family,
    Tokens,
    Values,
    same_heads,
    unsupported,
)
from t5lite.interop.huggingface.tensor_rules import Rule, linear, norm, table
from t5lite.interop.trees import Shape
from t5lite.models.config import (
    EncoderDecoderConfig,
    GatedMLP,
    MLPKind,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    TransformerConfig,
)

logger = logging.getLogger(__name__)

SHARED, HEAD = "shared.weight", "lm_head.weight"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
MLPS: dict[str, MLPKind] = {
    "relu": PlainMLP(activation="relu"),
    "gated-gelu": GatedMLP(activation="gelu_tanh"),
    "gated-silu": GatedMLP(activation="silu"),  # UL2
}
_HIDDEN_ACTIVATION = {"relu": ("relu", False), "gated-gelu": ("gelu_new", True), "gated-silu": ("silu", True)}
_DEFAULT_PROJECTION = {"t5": "relu", "mt5": "gated-gelu", "umt5": "gated-gelu"}
_CLASSES = {
    "t5": ("T5ForConditionalGeneration", "T5WithLMHeadModel"),
    "mt5": ("MT5ForConditionalGeneration",),
    "umt5": ("UMT5ForConditionalGeneration",),
}
MARKS = ("d_kv", "d_ff")
EOS = 1  # T5's own vocabularies; another one may end its texts with another id
# The ids that training and decoding of an encoder-decoder are built on.
_TOKENS: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (True,),
    "pad_token_id": (0,),
}
STACK: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (RelativePositions,),
    "norm": (RMSNorm,),
    "norm.one_plus": (False,),
    "norm_placement": ("pre",),
    "embedding_norm": (False,),
    "mlp": tuple(MLPS.values()),
    "parallel_block": (False,),
    "attention.biases": ("none",),
    "attention.scaled": (False,),
    "table_dim": (None,),
}
_STACKS: dict[str, tuple[Any, ...]] = {
    **STACK,
    "encoder_sizes": (None,),
    "separate_tables": (False,),
    "start_id": (0,),
}


def _mismatches(config: EncoderDecoderConfig) -> list[str]:
    phrases = differences(config, _STACKS) + same_heads(config)
    allowed = [config.embed_dim**-0.5] if config.tie_embeddings else [1.0]
    if model_type(config) == "umt5":
        allowed = [config.embed_dim**-0.5] if config.tie_embeddings else [1.0, config.embed_dim**-0.5]
    if not any(math.isclose(config.output_scale, scale) for scale in allowed):
        choices = " or ".join(f"{scale:.4g}" for scale in allowed)
        phrases.append(f"logits scaled by {config.output_scale:.4g} (only by {choices})")
    return phrases


def model_type(config: TransformerConfig) -> str:
    """Return what config.json calls the family."""
    return "t5" if config.positions.layer_bias is None else "umt5"


def _rules(config: EncoderDecoderConfig) -> tuple[Rule, ...]:
    return (
        table(SHARED, "token_embedder/embedding"),
        linear(HEAD, "logits/kernel"),
        *stack_rules("encoder", config),
        *stack_rules("decoder", config),
    )


def stack_rules(stack: str, config: TransformerConfig) -> tuple[Rule, ...]:
    """Return the rules of an encoder or a decoder, which has the same name there and here."""
    layers, blocks = f"{stack}/layers", f"{stack}.block.{{}}"
    per_layer = config.positions.layer_bias is not None
    block, holder = (blocks, layers) if per_layer else (f"{stack}.block.0", stack)
    relpos = table(
        f"{block}.layer.0.SelfAttention.relative_attention_bias.weight", f"{holder}/relpos_bias/embedding"
    )
    branches = [("self_attention", "SelfAttention"), ("mlp", "DenseReluDense")]
    if stack == "decoder":
        branches.insert(1, ("cross_attention", "EncDecAttention"))
    rules = [relpos, *norm(f"{stack}.final_layer_norm", f"{stack}/final_norm")]
    for i, (ours, module) in enumerate(branches):
        rules += norm(f"{blocks}.layer.{i}.layer_norm", f"{layers}/{ours}_norm")
        theirs, leaf = f"{blocks}.layer.{i}.{module}", f"{layers}/{ours}"
        if ours == "mlp":
            rules += [
                linear(f"{theirs}.{name}.weight", f"{leaf}/{name}") for name in ("wi", "wi_0", "wi_1", "wo")
            ]
            continue
        names = (("q", "query"), ("k", "key"), ("v", "value"))
        rules += [linear(f"{theirs}.{short}.weight", f"{leaf}/{name}") for short, name in names]
        rules.append(linear(f"{theirs}.o.weight", f"{leaf}/out"))
    return tuple(rules)


def _copies(config: EncoderDecoderConfig) -> dict[str, str]:
    names = [*_COPIES, HEAD] if config.tie_embeddings else _COPIES
    return dict.fromkeys(names, SHARED)


def _fallbacks(config: EncoderDecoderConfig) -> dict[str, str]:
    return {} if config.tie_embeddings else {HEAD: SHARED}


def _to_json(config: EncoderDecoderConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return config.json's content; transformers 4 and 5 read it alike (umT5: see above)."""
    scaled = not math.isclose(config.output_scale, 1.0)
    if model_type(config) == "umt5" and not scaled:
        logger.warning(
            "transformers 5 multiplies the logits of every umT5 by d_model^-0.5=%.4g, although this "
            "config.json says tie_word_embeddings=false; its most likely tokens are right, its probabilities "
            "are not",
            config.embed_dim**-0.5,
        )
    return {
        **stack_json(config, dtype, tokens),
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "tie_word_embeddings": scaled,
        "scale_decoder_outputs": scaled,
        "is_encoder_decoder": True,
        "use_cache": True,
        "decoder_start_token_id": 0,
    }


def stack_json(config: TransformerConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return what config.json says of the layers of either stack."""
    positions = cast(RelativePositions, config.positions)  # by STACK
    return {
        "model_type": model_type(config),
        "vocab_size": config.vocab_size,
        "d_model": config.embed_dim,
        "d_ff": config.mlp_dim,
        "d_kv": config.head_dim,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": positions.num_buckets,
        "relative_attention_max_distance": positions.max_distance,
        "feed_forward_proj": next(name for name, ours in MLPS.items() if ours == config.mlp),
        "dropout_rate": config.dropout_rate,
        "layer_norm_epsilon": config.norm.epsilon,
        "initializer_factor": 1.0,
        "pad_token_id": 0,
        "eos_token_id": _eos(tokens),
        "torch_dtype": dtype,
    }


def _after_loading(config: EncoderDecoderConfig) -> str:
    """Return the remedy for transformers 5, which forces ``tie_word_embeddings`` to true in every T5.

    ``from_pretrained`` leaves a head alone that differs from the table; later calls do not ask. A file that
    said false in another way would part the encoder's and decoder's embeddings too, which are one table.
    """
    if config.tie_embeddings:
        return ""
    return (
        "then model.config.tie_word_embeddings = False, or tie_weights() and resize_token_embeddings() of "
        "transformers 5 overwrite its head"
    )


def _eos(tokens: Tokens) -> int:
    return EOS if tokens["eos"] is None else tokens["eos"]


def _generation_json(config: EncoderDecoderConfig, tokens: Tokens) -> dict[str, Any]:
    """Return generation_config.json's content: greedy, from the pad id, until EOS.

    The cache is switched off for a decoder deeper than its encoder: transformers 5 (5.23) makes a cache of
    as many layers as the encoder has, and ``generate`` then fails with ``list index out of range``.
    """
    values: dict[str, Any] = {"decoder_start_token_id": 0, "eos_token_id": _eos(tokens), "pad_token_id": 0}
    if config.num_decoder_layers > config.num_encoder_layers:
        values["use_cache"] = False
    return values


def _from_json(values: Values) -> EncoderDecoderConfig:
    family = values.get("model_type", "t5")
    values.require(_TOKENS)
    _check_start(values)
    values.architectures(_CLASSES[family])
    num_encoder_layers = values.integer("num_layers")
    return EncoderDecoderConfig(
        **stack_fields(values),
        num_encoder_layers=num_encoder_layers,
        num_decoder_layers=values.integer("num_decoder_layers", num_encoder_layers),
        tie_embeddings=_is_tied(family, values),
    )


def _check_start(values: Values) -> None:
    """Check that the decoder starts with the padding's id.

    Raises:
      UserError: naming the other id, and what to do.
    """
    start = values.get("decoder_start_token_id", 0)
    if start != 0:
        raise UserError(
            f"config.json: decoder_start_token_id={start!r}, but a T5's texts start with id 0, its padding, "
            "here; if it was trained with that (T5's own training is), write decoder_start_token_id=0 there "
            "and in generation_config.json; if the tokenizer has its padding elsewhere, it cannot be imported"
        )


def stack_fields(values: Values) -> dict[str, Any]:
    """Return the fields that describe the layers of either stack, by config.json.

    Raises:
      UserError: for an activation that no model here has, or derived keys that contradict it.
      CheckpointError: for a size that is none.
    """
    family = values.get("model_type", "t5")
    projection = values.get("feed_forward_proj", _DEFAULT_PROJECTION[family])
    if projection not in MLPS:
        raise unsupported("feed_forward_proj", projection, MLPS)
    activation, gated = _HIDDEN_ACTIVATION[projection]
    # Derived from feed_forward_proj when saved, but where config.json has them, they are what counts.
    values.require({"dense_act_fn": (activation,), "is_gated_act": (gated,)})
    return {
        "vocab_size": values.integer("vocab_size"),
        "embed_dim": values.integer("d_model"),
        "mlp_dim": values.integer("d_ff"),
        "head_dim": values.integer("d_kv"),
        "num_heads": values.integer("num_heads"),
        "positions": RelativePositions(
            num_buckets=values.integer("relative_attention_num_buckets", 32),
            max_distance=values.integer("relative_attention_max_distance", 128),
            per_layer=family == "umt5",
        ),
        "mlp": MLPS[projection],
        "dropout_rate": values.number("dropout_rate", 0.1),
        "norm": RMSNorm(epsilon=values.number("layer_norm_epsilon", 1e-6)),
    }


def _completed(config: EncoderDecoderConfig, _: Values, shapes: Mapping[str, Shape]) -> EncoderDecoderConfig:
    """Return ``config``, after checking that the tensors are not an encoder's alone.

    Raises:
      UserError: saying how to import the encoder.
    """
    if not any(name.startswith("decoder.") for name in shapes):
        raise UserError(
            "config.json describes an encoder-decoder, and the tensors have no decoder; set architectures to "
            "['T5EncoderModel'] to import the encoder alone"
        )
    return config


def _is_tied(family: str, values: Values) -> bool:
    """Return whether the table serves as the head, whose logits are then scaled by d_model^-0.5.

    An ``lm_head.weight`` of its own may overrule it (``_untied``).
    """
    if family == "mt5":
        return False
    tied = values.get("tie_word_embeddings") is not False  # transformers 4's key
    return bool(values.get("scale_decoder_outputs", tied)) if family == "t5" else tied


def _untied(config: EncoderDecoderConfig, values: Values) -> EncoderDecoderConfig:
    """Return ``config`` with a head of its own: ``lm_head.weight`` is there and differs from the table."""
    if model_type(config) == "umt5":
        return dataclasses.replace(config, tie_embeddings=False, logit_scale=config.embed_dim**-0.5)
    if values.get("scale_decoder_outputs"):
        raise UserError(
            "scale_decoder_outputs=True with an lm_head.weight that differs from shared.weight is neither T5 "
            "1.0 nor 1.1; allowed: True without an lm_head.weight of its own, or False"
        )
    # Some versions wrote tie_word_embeddings=True for every T5: it scales no logits.
    return dataclasses.replace(config, tie_embeddings=False)


FAMILY = Family(
    model_types=("t5", "mt5", "umt5"),
    marks=MARKS,
    architecture=EncoderDecoderConfig,
    mismatches=_mismatches,
    class_name=lambda config: _CLASSES[model_type(config)][0],
    after_loading=_after_loading,
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    completed=_completed,
    untied=_untied,
    rules=_rules,
    copies=_copies,
    fallbacks=_fallbacks,
    default_eos=EOS,
    # Left in the first published T5 checkpoints; the model never read it, and transformers drops it as well.
    ignorable=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
)

"""The encoder of a T5, mT5 or umT5 alone: ``T5EncoderModel``, as text encoders and sentence encoders have it.

Here it is an encoder-only model without token types, whose output is its head.
"""

from typing import Any

from t5lite.interop.differences import differences
from t5lite.interop.huggingface.families import t5
from t5lite.interop.huggingface.family import Family, Tokens, Values, same_heads
from t5lite.interop.huggingface.tensor_rules import Rule, table
from t5lite.models.config import AttentionConfig, EncoderOnlyConfig, T5Initializer

_CLASSES = {"t5": "T5EncoderModel", "umt5": "UMT5EncoderModel"}
_SHAPE: dict[str, tuple[Any, ...]] = {
    **t5.STACK,
    "head": ("hidden", "sentence_embedding"),
    "num_token_types": (0,),
}


def _mismatches(config: EncoderOnlyConfig) -> list[str]:
    return differences(config, _SHAPE) + same_heads(config)


def _rules(config: EncoderOnlyConfig) -> tuple[Rule, ...]:
    return (table(t5.SHARED, "token_embedder/embedding"), *t5.stack_rules("encoder", config))


def _to_json(config: EncoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    return {
        **t5.stack_json(config, dtype, tokens),
        "num_layers": config.num_layers,
        "is_encoder_decoder": False,
        "use_cache": False,
    }


def _from_json(values: Values) -> EncoderOnlyConfig:
    values.require({"pad_token_id": (0,)})
    return EncoderOnlyConfig(
        **t5.stack_fields(values),
        num_layers=values.integer("num_layers"),
        head="hidden",
        num_token_types=0,
        norm_placement="pre",
        embedding_norm=False,
        attention=AttentionConfig(),
        initializer=T5Initializer(),
    )


def _generation_json(config: EncoderOnlyConfig, tokens: Tokens) -> dict[str, Any]:
    """Return almost nothing: an encoder does not generate, but the file marks an exported folder."""
    del config
    return {"pad_token_id": tokens["pad"]}


FAMILY = Family(
    model_types=("t5", "mt5", "umt5"),
    marks=t5.MARKS,
    classes=("T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel"),
    architecture=EncoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda config: _CLASSES[t5.model_type(config)],
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    rules=_rules,
    copies=lambda _: {"encoder.embed_tokens.weight": t5.SHARED},
    # Of a whole T5 whose architectures were set to the encoder's class.
    optional_parts=(r"decoder\..*", r"lm_head\..*"),
    default_eos=t5.EOS,
)

"""The families of Hugging Face models: one file each and one line here."""

import logging

from t5lite.core.errors import UserError
from t5lite.interop.huggingface.families import (
    bert,
    gpt2,
    llama,
    mistral,
    modernbert,
    opt,
    qwen2,
    qwen3,
    roberta,
    t5,
    t5_encoder,
    t5gemma,
    t5gemma2,
)
from t5lite.interop.huggingface.family import Family, Values, unsupported
from t5lite.models.config import ModelConfig

logger = logging.getLogger(__name__)

FAMILIES: dict[str, Family] = {
    "t5": t5.FAMILY,
    "t5gemma": t5gemma.FAMILY,
    "t5gemma2": t5gemma2.FAMILY,
    "bert": bert.FAMILY,
    "roberta": roberta.FAMILY,
    "modernbert": modernbert.FAMILY,
    "t5_encoder": t5_encoder.FAMILY,
    "gpt2": gpt2.FAMILY,
    "opt": opt.FAMILY,
    "llama": llama.FAMILY,
    "mistral": mistral.FAMILY,
    "qwen2": qwen2.FAMILY,
    "qwen3": qwen3.FAMILY,
}
"""Every family that can be read and written; of several that fit a configuration, the first is exported."""


def family_of(config: ModelConfig) -> Family:
    """Return the family that a configuration is exported as.

    Raises:
      UserError: if there is none, saying what keeps it from the nearest one.
    """
    if reason := fits(config):
        raise UserError(f"the model cannot be exported as a Hugging Face folder: {reason}")
    return next(family for family in _candidates(config) if not family.mismatches(config))


def fits(config: ModelConfig) -> str | None:
    """Return None if there is a class of transformers for ``config``, else why there is none."""
    candidates = _candidates(config)
    phrases = {family.class_name(config): family.mismatches(config) for family in candidates}
    if not all(phrases.values()):
        return None
    nearest = min(phrases, key=lambda name: len(phrases[name]))
    return f"the nearest class of transformers, {nearest}, does not have {'; '.join(phrases[nearest])}"


def family_of_json(values: Values) -> Family:
    """Return the family that config.json names, or whose keys it has where it is of before ``model_type``.

    Raises:
      UserError: for a ``model_type`` of none, or none and the keys of none.
    """
    model_type = values.get("model_type")
    if model_type is None:
        readers = [family for family in FAMILIES.values() if family.marks and values.has(family.marks)]
    else:
        readers = [family for family in FAMILIES.values() if model_type in family.model_types]
    named = [family for family in readers if values.names_any_of(family.classes)]
    readers = named or [family for family in readers if not family.classes]
    if readers:
        if model_type is None:
            logger.info("config.json has no model_type; read as %s", readers[0].model_types[0])
        return readers[0]
    allowed = dict.fromkeys(name for family in FAMILIES.values() for name in family.model_types)
    if model_type is None:
        raise UserError(
            "config.json has no model_type, and not the keys of a model of before there was one; add it: one "
            f"of {', '.join(allowed)}"
        )
    raise unsupported("model_type", model_type, allowed)


def _candidates(config: ModelConfig) -> list[Family]:
    return [family for family in FAMILIES.values() if family.architecture is type(config)]

"""The families of Hugging Face models: one file each and one line here."""

from t5lite.core.errors import UserError
from t5lite.interop.huggingface.families import bert, gpt2, llama, opt, t5
from t5lite.interop.huggingface.family import Family, Values, unsupported
from t5lite.models.config import ModelConfig

FAMILIES: dict[str, Family] = {
    "t5": t5.FAMILY,
    "bert": bert.FAMILY,
    "gpt2": gpt2.FAMILY,
    "opt": opt.FAMILY,
    "llama": llama.FAMILY,
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
    """Return the family that config.json names; without a ``model_type``, T5, as its first checkpoints have.

    Raises:
      UserError: for a ``model_type`` of none.
    """
    model_type = values.get("model_type", "t5")
    for family in FAMILIES.values():
        if model_type in family.model_types:
            return family
    raise unsupported("model_type", model_type, [name for f in FAMILIES.values() for name in f.model_types])


def _candidates(config: ModelConfig) -> list[Family]:
    return [family for family in FAMILIES.values() if family.architecture is type(config)]

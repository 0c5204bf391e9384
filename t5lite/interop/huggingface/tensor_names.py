"""From the names in a file to those of a family's rules: what is renamed, a copy, or left out."""

import logging
import re
from collections.abc import Mapping

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.family import Family
from t5lite.interop.huggingface.stored_tensors import Stored, check_floating, same_values
from t5lite.models.config import ModelConfig

logger = logging.getLogger(__name__)


def canonical_names(tensors: Mapping[str, Stored], family: Family) -> dict[str, Stored]:
    """Return the tensors by the names that the family's rules use, buffers left out.

    Raises:
      CheckpointError: if two tensors have one name there.
    """
    renamed: dict[str, Stored] = {}
    original: dict[str, str] = {}
    for stored_name, tensor in tensors.items():
        name = stored_name
        for pattern, replacement in family.renames:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise CheckpointError(
                f"{original[name]} and {stored_name} are two names of one tensor; keep the one that is meant"
            )
        renamed[name], original[name] = tensor, stored_name
    if family.prefix and not any(name.startswith(family.prefix) for name in renamed):
        # Saved as the model without its head, whose names begin one level further down.
        renamed = {
            name if name.startswith(family.heads) else family.prefix + name: tensor
            for name, tensor in renamed.items()
        }
    ignored = _matching(renamed, family.ignorable)
    if ignored:
        logger.info("left out %s, which hold no weights", ", ".join(ignored))
    return {name: tensor for name, tensor in renamed.items() if name not in ignored}


def without_copies(tensors: Mapping[str, Stored], family: Family, config: ModelConfig) -> dict[str, Stored]:
    """Return the tensors that the family's rules name, after checking that copies are copies.

    A fallback takes the place of a missing tensor, and trained parts that the model has no place for are
    dropped, both with a warning.

    Raises:
      CheckpointError: for a copy that differs, or a tensor that is not of a floating-point type.
    """
    kept = dict(tensors)
    check_floating(kept)
    for name, original in family.copies(config).items():
        # safetensors keeps one of several names of one tensor, and it need not be the first.
        if (tensor := kept.pop(name, None)) is None:
            continue
        if not same_values(kept.setdefault(original, tensor), tensor):
            raise CheckpointError(
                f"{name} differs from {original}, of which it must be a copy in a model with tied embeddings"
            )
    for name, original in family.fallbacks(config).items():
        if name not in kept and original in kept:
            logger.warning("no %s in a model with an output projection: starting it as %s", name, original)
            kept[name] = kept[original]
    return kept


def drop_optional_parts(
    tensors: Mapping[str, Stored], expected: Mapping[str, object], family: Family
) -> dict[str, Stored]:
    """Return the tensors without trained parts that other classes of the family have and this one lacks."""
    dropped = [name for name in _matching(tensors, family.optional_parts) if name not in expected]
    if dropped:
        logger.warning("dropped %s: the model that was imported has no such part", ", ".join(dropped))
    return {name: tensor for name, tensor in tensors.items() if name not in dropped}


def _matching(names: Mapping[str, object], patterns: tuple[str, ...]) -> list[str]:
    return [name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)]

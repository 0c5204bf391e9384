"""Whether the tensors of a folder are those of a model, decided by names, shapes and types alone."""

import dataclasses
import logging
import re
from collections.abc import Mapping
from typing import Any

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.family import Family
from t5lite.interop.huggingface.stored_tensors import Stored, check_floating, same_values
from t5lite.interop.huggingface.tensor_rules import Tensor, plan
from t5lite.interop.trees import check_fit, flatten, listed
from t5lite.models.config import ModelConfig
from t5lite.models.functional import build

logger = logging.getLogger(__name__)

_LISTED_LAYERS = 1000
"""So many layers may be missing and are then listed; more, of a damaged config.json, are not even made."""
_TENSORS_OF_A_LAYER = 4
"""At least: a layer has six or more."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The tensors of a model, found to be there in their shapes; none of their values was read.

    Attributes:
      tensors: what the model's rules ask for.
      stored: where each of them is read from, by its name.
      copies: tensors that should equal another one: (name, itself, the other's name, the other).
    """

    tensors: list[Tensor]
    stored: Mapping[str, Stored]
    copies: list[tuple[str, Stored, str, Stored]]

    def differing_copies(self) -> list[tuple[str, str]]:
        """Return (name, original) of copies that are none, comparing values some rows at a time."""
        return [
            (name, original) for name, copy, original, other in self.copies if not same_values(copy, other)
        ]


def fit(stored: Mapping[str, Stored], family: Family, config: ModelConfig) -> Fitted:
    """Return the tensors of ``config`` among those stored.

    A fallback takes the place of a missing tensor, and trained parts that the model has no place for are
    dropped, both with a warning.

    Args:
      stored: by the names of the family's rules (``canonical_names``).
      family: of the model.
      config: the model.

    Raises:
      CheckpointError: listing missing, unexpected and misshapen tensors by name and shape, and tensors that
        are not of a floating-point type.
    """
    check_floating(stored)
    layers: dict[str, int] = config.layer_counts
    if sum(layers.values()) > max(_LISTED_LAYERS, len(stored) // _TENSORS_OF_A_LAYER):
        described = ", ".join(f"{name}={count}" for name, count in layers.items())
        raise CheckpointError(
            f"config.json describes {described}, but there are only {len(stored)} tensors, too few for so "
            "many layers; "
            "fetch the folder again, all of its files"
        )
    kept = dict(stored)
    copies = []
    for name, original in family.copies(config).items():
        # safetensors keeps one of several names of one tensor, and it need not be the first.
        if (tensor := kept.pop(name, None)) is not None:
            other = kept.setdefault(original, tensor)
            if other is not tensor:
                copies.append((name, tensor, original, other))
    for name, original in family.fallbacks(config).items():
        if name not in kept and original in kept:
            logger.warning("no %s in a model with an output projection: starting it as %s", name, original)
            kept[name] = kept[original]
    shapes = {path: leaf.shape for path, leaf in flatten(build(config).abstract_params)}
    tensors = plan(family.rules(config), shapes, config.stacks)
    expected = {tensor.name: tensor.shape for tensor in tensors}
    kept = _without_optional_parts(kept, expected, family)
    found = {name: tensor.shape for name, tensor in kept.items()}
    copied = {name: expected[original] for name, _, original, _ in copies if original in expected}
    check_fit("tensors", expected | copied, found | {name: copy.shape for name, copy, *_ in copies})
    return Fitted(tensors, kept, copies)


def refuse_differing(differing: list[tuple[str, str]]) -> None:
    """Check that no copy differs from its original.

    Raises:
      CheckpointError: naming the first that does.
    """
    for name, original in differing:
        raise CheckpointError(
            f"{name} differs from {original}, of which it must be a copy in a model with tied embeddings; "
            "set tie_word_embeddings to false in config.json if both were trained, or remove the one that "
            "was not"
        )


def _without_optional_parts(
    tensors: Mapping[str, Stored], expected: Mapping[str, Any], family: Family
) -> dict[str, Stored]:
    """Return the tensors without trained parts that other classes of the family have and this one lacks."""
    dropped = [
        name
        for name in tensors
        if name not in expected and any(re.fullmatch(pattern, name) for pattern in family.optional_parts)
    ]
    if dropped:
        logger.warning(
            "dropped %d trained tensors, which the model that was imported has no place for: %s",
            len(dropped),
            listed(dropped, 8),
        )
    return {name: tensor for name, tensor in tensors.items() if name not in dropped}

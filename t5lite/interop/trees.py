"""Nested dicts of parameters and of shapes: their leaves by path, and whether two of them fit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from t5lite.core.errors import CheckpointError
from t5lite.core.types import Tree

Shape = tuple[int, ...]
_LAYERS = re.compile(r"/(first_)?layers(_\d+)?/")
"""Arrays of layers (``models.layers.groups``)."""
_LISTED = 100


def flatten(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a nested dict with its path, ``/`` between the names."""
    for name, child in tree.items():
        below = f"{path}/{name}" if path else str(name)
        if isinstance(child, Mapping):
            yield from flatten(child, below)
        else:
            yield below, child


def insert(tree: dict[str, Any], path: str, leaf: Any) -> None:
    """Put ``leaf`` at ``path`` of a nested dict."""
    *parents, last = path.split("/")
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = leaf


def has_layers(path: str) -> bool:
    """Return whether the first axis of the parameter at ``path`` counts layers."""
    return _LAYERS.search(path) is not None


def check_fit(kind: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> None:
    """Check that names and shapes are the same.

    Raises:
      CheckpointError: listing what is missing, unexpected and misshapen, by name and shape.
    """
    refuse_misfits(
        f"the {kind} do not fit the model configuration",
        missing=[f"{name} {shape}" for name, shape in expected.items() if name not in found],
        unexpected=[f"{name} {shape}" for name, shape in found.items() if name not in expected],
        wrong_shape=[
            f"{name} {found[name]} instead of {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    )


def refuse_misfits(
    summary: str, *, missing: Sequence[str], unexpected: Sequence[str], wrong_shape: Sequence[str]
) -> None:
    """Check that all three lists are empty.

    Raises:
      CheckpointError: with ``summary`` and the lists.
    """
    complaints = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong_shape}
    phrases = [f"{what}: {listed(names)}" for what, names in complaints.items() if names]
    if phrases:
        raise CheckpointError(f"{summary}; {'; '.join(phrases)}")


def listed(names: Sequence[str], limit: int = _LISTED) -> str:
    """Return the names with commas between them; how many more there are where there are very many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more

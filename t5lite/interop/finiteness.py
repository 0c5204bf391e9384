"""Weights that are not finite, counted by name while they pass, and refused: no model computes with them."""

from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.core.types import Tree
from t5lite.interop.departure import layers_on_host
from t5lite.interop.trees import flatten, listed

_LISTED = 20
_BLOCK_VALUES = 2**20


@dataclass
class _Count:
    nan: int = 0
    infinite: int = 0

    def __str__(self) -> str:
        kinds = {"NaN": self.nan, "infinite": self.infinite}
        return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


class NonFinite:
    """Counts NaN and infinity by name; parts of one array may come one by one."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def see(self, name: str, values: np.ndarray) -> None:
        """Count what is not finite in ``values``, looking at a few rows at a time."""
        values = np.atleast_1d(values)
        step = max(1, _BLOCK_VALUES * len(values) // max(1, values.size))
        for start in range(0, len(values), step):
            block = values[start : start + step]
            if np.isfinite(block).all():
                continue
            count = self._counts.setdefault(name, _Count())
            count.nan += int(np.isnan(block).sum())
            count.infinite += int(np.isinf(block).sum())

    def refuse(self, summary: str, remedy: str) -> None:
        """Check that all was finite.

        Raises:
          CheckpointError: with the number of arrays, their names and their counts.
        """
        if self._counts:
            names = [f"{name} ({count})" for name, count in self._counts.items()]
            raise CheckpointError(
                f"{summary}: {len(names)} hold{'s' if len(names) == 1 else ''} NaN or infinity: "
                f"{listed(names, _LISTED)}; {remedy}"
            )


def check_finite(params: Tree) -> None:
    """Check parameters before they are exported, a layer at a time.

    Raises:
      CheckpointError: if any of them is not finite.
    """
    found = NonFinite()
    for name, leaf in flatten(params):
        for part in layers_on_host(name, leaf):
            found.see(name, part)
    found.refuse(
        "the parameters are not exported",
        "export an earlier checkpoint by --step, and lower the learning rate before training on",
    )

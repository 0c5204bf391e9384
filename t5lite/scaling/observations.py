"""Finished runs as numbers: how large, on how much, at what cost, and how good."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

_SAME_BUDGET = 0.1
"""Two budgets whose logarithms differ by less are one: shapes and steps are whole numbers."""
_WIDEST_BUDGET = 0.4
"""Of logarithms; a chain of costs that is wider than this is a cloud and no budget."""
ONCE = 1.001
"""Tokens over unique ones, up to which nothing is repeated."""
FEWEST_POINTS = 3
"""Of a budget, by which a parabola is determined."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Runs, one an element of every array.

    Attributes:
      params: parameters N, [P], by whatever convention the table counts them.
      tokens: tokens D that were trained on, [P].
      flops: training FLOPs C, [P].
      loss: L, [P], above 0.
      unique_tokens: distinct tokens that there were, [P]; None where none was seen twice.
      runs: names, [P]; points of one name are one training at several times. None: each is a run of its own.
    """

    params: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    loss: np.ndarray
    unique_tokens: np.ndarray | None = None
    runs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops_per_pair(self) -> float:
        """FLOPs a parameter and token, C / (N D), the median: 6 by the usual convention."""
        return float(np.median(self.flops / (self.params * self.tokens)))

    def take(self, which: np.ndarray) -> "Observations":
        """Return those of a mask or of indices, which may repeat."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            taken[field.name] = None if values is None else values[which]
        return Observations(**taken)

    def with_loss(self, loss: np.ndarray) -> "Observations":
        """Return the same runs with other losses, [P]."""
        return replace(self, loss=loss)


def budget_numbers(observations: Observations) -> np.ndarray | None:
    """Return which budget each point is of, [P], numbered from the smallest; None if they are of no budgets.

    Costs that differ by less than a tenth are of one budget. There are budgets where two or more have three
    points or more, and none is wider than half as much again.
    """
    logs = np.log(observations.flops)
    order = np.argsort(logs, kind="stable")
    steps = np.diff(logs[order]) > _SAME_BUDGET
    numbers = np.empty(len(logs), int)
    numbers[order] = np.concatenate([[0], np.cumsum(steps)])
    spans = [np.ptp(logs[numbers == number]) for number in range(numbers.max() + 1)]
    sizes = np.bincount(numbers)
    if max(spans) > _WIDEST_BUDGET or np.sum(sizes >= FEWEST_POINTS) < 2:
        return None
    return numbers

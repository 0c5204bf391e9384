"""Finished runs as numbers: how large, on how much, at what cost, and how good."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

_SAME_TOKENS = 0.002
"""Numbers of tokens whose logarithms differ by less are one, of batches of several sizes."""
_SAME_BUDGET = 0.1
"""Two budgets whose logarithms differ by less are one: shapes and steps are whole numbers."""
_WIDEST_BUDGET = 0.4
"""Of logarithms; a chain of costs that is wider than this is a cloud and no budget."""
ONCE = 1.001
"""Tokens over unique ones, up to which nothing is repeated."""
_HARDLY = 1e-4
"""Variance of ln N, below which sizes are one."""
_MOST_EXCESS = 0.5
"""Of an exponent: where costs differ more, they are not of one way of counting."""
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

    def take(self, which: np.ndarray) -> "Observations":
        """Return those of a mask or of indices, which may repeat."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            taken[field.name] = None if values is None else values[which]
        return Observations(**taken)

    def lowest_alike(self) -> np.ndarray:
        """Return the lowest loss that runs of the same parameters and (unique) tokens have, [P].

        Tokens of two runs are the same if they differ by less than a step may; of points of training
        curves, which are as near, if they are equal.
        """
        unique = self.tokens if self.unique_tokens is None else np.minimum(self.tokens, self.unique_tokens)
        sizes = np.stack([self.params, self.tokens, unique])
        if self.runs is None:
            sizes = np.stack([self.params, _numbered(self.tokens), _numbered(unique)])
        _, alike = np.unique(sizes, axis=1, return_inverse=True)
        alike = alike.reshape(-1)  # [1, P] by some NumPy
        lowest = np.full(len(self), np.inf)
        np.minimum.at(lowest, alike, self.loss)
        return lowest[alike]

    def with_loss(self, loss: np.ndarray) -> "Observations":
        """Return the same runs with other losses, [P]."""
        return replace(self, loss=loss)


@dataclass(frozen=True)
class Cost:
    """What runs cost: ``C = coefficient * N^(1 + excess) * D``; 6 and 0 by the usual convention.

    The FLOPs of a parameter and token change with the size, where what is no product of parameters counts
    (attention) or parameters that are multiplied with nothing (embeddings).
    """

    coefficient: float
    excess: float

    @classmethod
    def of(cls, observations: Observations) -> "Cost":
        """Return the line through logarithms; sizes that hardly differ tell no excess."""
        logs = np.log(observations.params)
        ratios = np.log(observations.flops / observations.tokens) - logs
        slopes = logs - np.mean(logs)
        squares = float(slopes @ slopes)
        excess = float(slopes @ ratios) / squares if squares > _HARDLY * len(logs) else 0.0
        excess = float(np.clip(excess, -_MOST_EXCESS, _MOST_EXCESS))
        return cls(float(np.exp(np.median(ratios - excess * logs))), excess)

    def flops(self, params: float, tokens: float) -> float:
        """Return C."""
        return self.coefficient * params ** (1 + self.excess) * tokens

    def tokens(self, flops: float, params: np.ndarray) -> np.ndarray:
        """Return the tokens that so many FLOPs pay for, of each size."""
        return flops / (self.coefficient * params ** (1 + self.excess))

    def params(self, flops: float, *, tokens_per_parameter: float) -> float:
        """Return the size that so many FLOPs train on tokens in this proportion to it."""
        return (flops / (self.coefficient * tokens_per_parameter)) ** (1 / (2 + self.excess))


def budget_numbers(observations: Observations) -> np.ndarray | None:
    """Return which budget each point is of, [P], numbered from the smallest; None if they are of no budgets.

    Costs that differ by less than a tenth are of one budget. There are budgets where two or more have three
    points or more, and none is wider than half as much again.
    """
    logs, numbers = np.log(observations.flops), _numbered(observations.flops, _SAME_BUDGET)
    spans = [np.ptp(logs[numbers == number]) for number in range(numbers.max() + 1)]
    sizes = np.bincount(numbers)
    if max(spans) > _WIDEST_BUDGET or np.sum(sizes >= FEWEST_POINTS) < 2:
        return None
    return numbers


def _numbered(values: np.ndarray, apart: float = _SAME_TOKENS) -> np.ndarray:
    """Return the number of each value [P] among those whose logarithms are ``apart``, from the smallest."""
    logs = np.log(values)
    order = np.argsort(logs, kind="stable")
    numbers = np.empty(len(logs), int)
    numbers[order] = np.cumsum(np.diff(logs[order], prepend=logs[order[:1]]) > apart)
    return numbers

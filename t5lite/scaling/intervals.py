"""How far a fit would move with other runs of the same kind: the bootstrap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.observations import Observations, budget_numbers

_SEED = 20201
_FEWEST_DRAWN = 3
"""Of runs, or of a budget's; fewer tell nothing of how they differ."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a number lies, in the share ``level`` of repetitions."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Bootstrapped:
    """Intervals of a fit's numbers.

    Attributes:
      intervals: by the number's name.
      num_resamples: that were fitted.
      num_failed: resamples that determined no fit; they are not in the intervals.
    """

    intervals: dict[str, Interval]
    num_resamples: int
    num_failed: int


def bootstrap(
    numbers: Callable[[Observations], dict[str, float]],
    observations: Observations,
    *,
    num_resamples: int,
    level: float,
) -> Bootstrapped:
    """Return percentile intervals of what ``numbers`` finds, over resampled runs.

    Runs are drawn with replacement: within each budget, where there are budgets, so that each keeps its
    number; of training curves whole ones, since points of one training err together.
    """
    rng = np.random.default_rng(_SEED)
    groups = _groups(observations)
    if max(map(len, groups)) < _FEWEST_DRAWN:  # the same few again and again would look certain
        return Bootstrapped(intervals={}, num_resamples=0, num_failed=0)
    found: list[dict[str, float]] = []
    failed = 0
    for _ in range(num_resamples):
        try:
            found.append(numbers(observations.take(_resampled(groups, rng))))
        except DataError:
            failed += 1
    if not found:
        return Bootstrapped(intervals={}, num_resamples=0, num_failed=failed)
    tail = 50 * (1 - level)
    intervals = {}
    for name in {name: None for each in found for name in each}:
        values = [each[name] for each in found if name in each]
        if 2 * len(values) < len(found):  # what most resamples do not determine has no interval
            continue
        method = "linear" if np.isfinite(values).all() else "inverted_cdf"  # nothing lies between infinities
        low, high = np.percentile(values, [tail, 100 - tail], method=method)
        intervals[name] = Interval(low=float(low), high=float(high), level=level)
    return Bootstrapped(intervals=intervals, num_resamples=len(found), num_failed=failed)


Groups = list[list[np.ndarray]]
"""Strata; of each, what is drawn together."""


def _groups(observations: Observations) -> Groups:
    everything = np.arange(len(observations))
    if observations.runs is not None:
        names, numbers = np.unique(observations.runs, return_inverse=True)
        return [[everything[numbers == number] for number in range(len(names))]]
    budgets = budget_numbers(observations)
    if budgets is None:
        return [[everything[index : index + 1] for index in everything]]
    return [
        [np.array([index]) for index in everything[budgets == number]] for number in range(budgets.max() + 1)
    ]


def _resampled(groups: Groups, rng: np.random.Generator) -> np.ndarray:
    drawn = [
        stratum[which] for stratum in groups for which in rng.integers(0, len(stratum), size=len(stratum))
    ]
    return np.concatenate(drawn)

"""How far a fit would move with other runs of the same kind: the bootstrap.

Of runs of which each is a training of its own, errors are drawn and the sizes stay (model-based resampling,
Davison and Hinkley, 1997, section 6.2.3; here of normal errors): a budget of four runs has too few to draw
runs from, and isoFLOP intervals by such draws held the truth in 97 to 99 of 100 tables where 90 were asked
for. Of training curves whole ones are drawn, since points of one training err together; so are runs for a
Huber loss, whose small delta makes it follow a run for each constant exactly, which leaves errors of 0 that
no other run has.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.observations import Observations, budget_numbers

_SEED = 20201
_FEWEST_DRAWN = 3
"""Of runs, or of a budget's; fewer tell nothing of how they differ."""
_LISTED = 4
"""Names in a sentence."""
_FEWEST_FREE = 1.5
"""Degrees of freedom: one error alone says nothing of how large errors are."""
_SHARED = 4.0
"""Degrees of freedom with which the errors of all groups count in each. Of simulated isoFLOP tables whose
largest budget errs four times as much, 90 % intervals of the exponents hold the truth in 87 % (five of
four) and 97 % (six of eight); by one size of errors for all it was about 77 %."""


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
      notes: what is to be said of the intervals, a sentence each.
    """

    intervals: dict[str, Interval]
    num_resamples: int
    num_failed: int
    notes: tuple[str, ...] = ()


def refitted(
    numbers: Callable[[Observations], dict[str, float]], tables: Iterable[Observations], *, level: float
) -> Bootstrapped:
    """Return percentile intervals of what ``numbers`` finds in resampled tables."""
    found: list[dict[str, float]] = []
    failed = 0
    for each in tables:
        try:
            found.append(numbers(each))
        except DataError:
            failed += 1
    return percentiles(found, num_failed=failed, level=level)


def percentiles(found: Sequence[dict[str, float]], *, num_failed: int = 0, level: float) -> Bootstrapped:
    """Return intervals between percentiles of what resamples found.

    What most resamples do not determine has no interval; how many do not is said.
    """
    tail = 50 * (1 - level)
    intervals = {}
    lacking: dict[int, list[str]] = {}
    for name in {name: None for each in found for name in each}:
        values = [each[name] for each in found if name in each]
        if len(values) < len(found):
            lacking.setdefault(len(found) - len(values), []).append(name)
        if 2 * len(values) < len(found):
            continue
        method = "linear" if np.isfinite(values).all() else "inverted_cdf"  # nothing lies between infinities
        low, high = np.percentile(values, [tail, 100 - tail], method=method)
        intervals[name] = Interval(low=float(low), high=float(high), level=level)
    notes = tuple(
        f"{listed(names)}: none in {missing} of {len(found)} resamples; "
        + ("intervals are of the others" if names[0] in intervals else "too many for an interval")
        for missing, names in lacking.items()
    )
    return Bootstrapped(intervals=intervals, num_resamples=len(found), num_failed=num_failed, notes=notes)


def listed(names: Sequence[str]) -> str:
    """Return the first few of names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def draws(observations: Observations, num_resamples: int) -> list[np.ndarray]:
    """Return which runs each resample has; no resamples where there are too few to draw from.

    Runs are drawn with replacement: within each budget, where there are budgets, so that each keeps its
    number; of training curves whole ones.
    """
    rng = np.random.default_rng(_SEED)
    groups = _groups(observations)
    if max(map(len, groups)) < _FEWEST_DRAWN:  # the same few again and again would look certain
        return []
    return [_resampled(groups, rng) for _ in range(num_resamples)]


def counts(drawn: Sequence[np.ndarray], num_runs: int) -> np.ndarray:
    """Return how often each resample has each run, [R, P]."""
    return np.array([np.bincount(which, minlength=num_runs) for which in drawn], float).reshape(-1, num_runs)


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What a fit leaves of the losses.

    Attributes:
      fitted: losses by the fit, [P].
      left: ln of measured over fitted loss, [P].
      leverages: how much of its own error each fitted loss takes, [P]; their sum is the number of
        constants.
      groups: within which errors are of one size, [P], numbered from 0.
    """

    fitted: np.ndarray
    left: np.ndarray
    leverages: np.ndarray
    groups: np.ndarray

    def redrawn(self, num_resamples: int) -> np.ndarray:
        """Return losses as other runs of the same sizes might have, [R, P]; no row where too little is left.

        Errors are normal. How large they are in a group, few runs tell: its variance is drawn, too, from what
        its own residuals say with all that the fit leaves them free, and those of all groups with four
        degrees of freedom more (Smyth, 2004, who estimates that number). So the intervals of a line are
        Student's, a group that errs more than others has larger errors, and one that the fit goes through,
        as of three runs, has those of all.
        """
        free = len(self.left) - float(self.leverages.sum())
        if free < _FEWEST_FREE:
            return np.empty((0, len(self.left)))
        rng = np.random.default_rng(_SEED)
        squares = np.bincount(self.groups, self.left**2)
        known = _SHARED + np.bincount(self.groups, 1 - self.leverages)
        variances = (_SHARED * squares.sum() / free + squares) / rng.chisquare(
            known, size=(num_resamples, len(known))
        )
        errors = rng.normal(size=(num_resamples, len(self.left)))
        return self.fitted * np.exp(errors * np.sqrt(variances[:, self.groups]))


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

"""One table by one method: the fit, intervals, how the largest runs would have been predicted, warnings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.intervals import Interval
from t5lite.scaling.methods import Fitted, Method, numbers_of, parabola_bias
from t5lite.scaling.observations import FEWEST_POINTS, Observations, budget_numbers

_FAR = 10.0
"""Times the largest budget, beyond which a prediction is called an extrapolation."""
_NARROW = 4.0
"""Largest over smallest size, below which a table says little of an exponent."""
_LARGEST_SHARE = 0.2
_ONCE = 1.001


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What one method makes of a table.

    Attributes:
      method: that was used.
      fitted: the fit; None if it cannot be fitted.
      numbers: by name, those that are predicted for budgets too.
      intervals: of numbers, by name.
      notes: what is to be said, a sentence each; without a fit, why there is none.
    """

    method: Method
    fitted: Fitted | None
    numbers: dict[str, float]
    intervals: dict[str, Interval]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How tables are analysed.

    Attributes:
      budgets: FLOPs, for which the best sizes are predicted.
      num_resamples: of the bootstrap.
      level: of intervals.
    """

    budgets: tuple[float, ...] = ()
    num_resamples: int = 200
    level: float = 0.9


def analyse(observations: Observations, method: Method, settings: Settings) -> Analysis:
    """Fit a table by a method and say what holds of it."""
    notes, given = [], len(observations)
    if method.repeats_to_skip:
        observations = without_repeats(observations)
        if len(observations) < given:
            notes.append(
                f"{given - len(observations)} runs that repeat tokens left out; the method repetition is of "
                "them"
            )
    try:
        if not len(observations):
            raise DataError("no run is left")
        fitted = method.fit(observations)
    except DataError as error:
        return Analysis(method=method, fitted=None, numbers={}, intervals={}, notes=(*notes, str(error)))
    found = method.intervals(
        fitted,
        observations,
        budgets=settings.budgets,
        num_resamples=settings.num_resamples,
        level=settings.level,
    )
    if not found.intervals:
        notes.append("no intervals: too few runs, or resamples that determine a fit, to tell them by")
    elif found.num_failed:
        drawn = found.num_failed + found.num_resamples
        notes.append(
            f"{found.num_failed} of {drawn} resamples determined no fit; intervals are of the others"
        )
    notes += fitted.notes()
    bias = parabola_bias(fitted, observations)
    if bias is not None:
        notes.append(
            f"if this law holds, isoFLOP parabolas miss the N exponent by {bias:+.3f} at these points, "
            "without any noise"
        )
    notes += _held_out(observations, method)
    notes += _far(observations, settings.budgets)
    return Analysis(
        method=method,
        fitted=fitted,
        numbers=numbers_of(fitted, settings.budgets),
        intervals=found.intervals,
        notes=tuple(notes),
    )


def without_repeats(observations: Observations) -> Observations:
    """Return the runs that saw no token twice, as far as the table tells."""
    if observations.unique_tokens is None:
        return observations
    return observations.take(observations.tokens <= _ONCE * observations.unique_tokens)


def described(observations: Observations) -> str:
    """Return what a table has, in a line."""
    budgets = budget_numbers(observations)
    parts = [f"{len(observations)} runs"]
    if observations.runs is not None:
        parts = [f"{len(observations)} points of {len(np.unique(observations.runs))} runs"]
    if budgets is not None:
        parts.append(f"{budgets.max() + 1} budgets")
    for name, values in (
        ("FLOPs", observations.flops),
        ("parameters", observations.params),
        ("tokens", observations.tokens),
        ("loss", observations.loss),
    ):
        parts.append(f"{name} {values.min():.3g} to {values.max():.3g}")
    return ", ".join(parts)


def warnings(observations: Observations) -> list[str]:
    """Return what a table is too little for, whatever the method."""
    said = []
    for name, values in (("parameters", observations.params), ("tokens", observations.tokens)):
        span = float(values.max() / values.min())
        if span < _NARROW:
            said.append(
                f"{name} differ by a factor of {span:.2g} only; an exponent of them is hardly determined"
            )
    return said


def _held_out(observations: Observations, method: Method) -> list[str]:
    """Fit without the largest budget (or the costliest fifth of runs), and say how that is predicted."""
    budgets = None if observations.runs is not None else budget_numbers(observations)
    if budgets is None:
        names = np.arange(len(observations)) if observations.runs is None else observations.runs
        _, runs = np.unique(names, return_inverse=True)
        costs = np.zeros(runs.max() + 1)
        np.maximum.at(costs, runs, observations.flops)
        costliest = costs > np.quantile(costs, 1 - _LARGEST_SHARE)
        largest, what = costliest[runs], f"the costliest {costliest.sum()} runs"
    else:
        counts = np.bincount(budgets)
        last = max(number for number, count in enumerate(counts) if count >= FEWEST_POINTS)
        largest = budgets == last
        what = f"the budget of {np.mean(observations.flops[largest]):.3g} FLOPs"
        observations = observations.take(budgets <= last)
        largest = largest[budgets <= last]
    if not largest.any() or largest.all():
        return []
    try:
        fitted = method.fit(observations.take(~largest))
    except DataError:
        return []
    said = fitted.held_out(observations.take(largest))
    return [] if said is None else [f"fitted without {what}: {said}"]


def _far(observations: Observations, budgets: Sequence[float]) -> list[str]:
    largest = float(observations.flops.max())
    return [
        f"{flops:g} FLOPs are {flops / largest:,.0f} times the largest run: an extrapolation, which "
        "intervals understate"
        for flops in budgets
        if flops > _FAR * largest
    ]

"""One table by one method: the fit, intervals, how the largest runs would have been predicted, warnings."""

from dataclasses import dataclass, replace

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.diverged import diverged, diverged_note
from t5lite.scaling.intervals import Interval, listed
from t5lite.scaling.methods import Asked, Fitted, Method, loss_name, numbers_of, parabola_bias
from t5lite.scaling.observations import ONCE, Observations, budget_numbers

_FAR = 10.0
"""Times the largest that was fitted, beyond which a prediction is called an extrapolation."""
_NARROW = 4.0
"""Largest over smallest size, below which a table says little of an exponent."""
_LARGEST_SHARE = 0.2
_SCATTER = 1.05
"""Times the lowest of noisy losses, below which the law's own loss of that run is."""
_WORSE = 1.5
"""Times that loss, above which a prediction is none, however wide its interval."""
FEWEST_RESAMPLES = 20
"""Of a bootstrap; fewer tell no interval."""
_NO_SINGLE_RUN = "the loss of such runs is nothing that this method predicts"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A run that a fit did not see.

    Attributes:
      params: N.
      tokens: D.
      flops: C.
      loss: that was measured.
      predicted: by the fit.
      interval: of what is predicted, without the scatter of single runs; None if nothing tells.
    """

    params: float
    tokens: float
    flops: float
    loss: float
    predicted: float
    interval: Interval | None

    def __str__(self) -> str:
        within = "" if self.interval is None else f" ({self.interval.low:.4g} to {self.interval.high:.4g})"
        missed = 100 * (self.predicted / self.loss - 1)
        return (
            f"N={self.params:.6g}, D={self.tokens:.6g}: loss {self.loss:.4g}, predicted "
            f"{self.predicted:.4g}{within}, missed by {missed:+.2f} %"
        )


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What one method makes of a table.

    Attributes:
      method: that was used.
      fitted: the fit; None if it cannot be fitted.
      numbers: by name, those that are predicted for budgets too.
      intervals: of numbers, by name.
      held_out: runs that were to be predicted only, the cheapest first.
      notes: what is to be said, a sentence each; without a fit, why there is none.
    """

    method: Method
    fitted: Fitted | None
    numbers: dict[str, float]
    intervals: dict[str, Interval]
    held_out: tuple[HeldOut, ...] = ()
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How tables are analysed.

    Attributes:
      budgets: FLOPs, for which the best sizes are predicted.
      sizes: parameters and tokens of runs, whose loss is predicted.
      fit_below: FLOPs; runs that cost as much or more are predicted, not fitted. None fits all.
      keep_repeats: whether runs that repeat tokens are fitted as if each token were new.
      num_resamples: of the bootstrap.
      level: of intervals.
    """

    budgets: tuple[float, ...] = ()
    sizes: tuple[tuple[float, float], ...] = ()
    fit_below: float | None = None
    keep_repeats: bool = False
    num_resamples: int = 200
    level: float = 0.9

    @property
    def asked(self) -> Asked:
        """What fits are to predict, but for what is held out."""
        params, tokens = np.array(self.sizes, float).reshape(-1, 2).T
        runs = Observations(
            params=params, tokens=tokens, flops=6 * params * tokens, loss=np.ones(len(params))
        )
        return Asked(budgets=self.budgets, runs=(runs,) * bool(self.sizes))


def analyse(observations: Observations, method: Method, settings: Settings) -> Analysis:
    """Fit a table by a method and say what holds of it."""
    notes, given = [], len(observations)
    if method.repeats_to_skip and not settings.keep_repeats:
        observations = without_repeats(observations)
        if len(observations) < given:
            notes.append(
                f"{given - len(observations)} runs that repeat tokens left out; the method repetition is of "
                "them, and --keep-repeats takes them as if each token were new"
            )
    held_out = observations.take(observations.flops >= (settings.fit_below or np.inf))
    observations = observations.take(observations.flops < (settings.fit_below or np.inf))
    try:
        if not len(observations):
            raise DataError("no run is left")
        fitted = method.fit(observations)
    except DataError as error:
        return Analysis(method=method, fitted=None, numbers={}, intervals={}, notes=(*notes, str(error)))
    asked = settings.asked
    found = method.intervals(
        fitted,
        observations,
        asked=replace(asked, runs=(*asked.runs, held_out)),
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
    if endless := [name for name, interval in found.intervals.items() if not np.isfinite(interval.high)]:
        notes.append(f"no upper end of {listed(endless)}: these runs do not bound how large it may be")
    notes += [*found.notes, *fitted.notes()]
    bias = parabola_bias(fitted, observations)
    if bias is not None:
        notes.append(
            f"if this law holds, isoFLOP parabolas miss the N exponent by {bias:+.3f} at these points, "
            "without any noise"
        )
    notes += _largest(observations, method) if settings.fit_below is None else _unpredicted(fitted, held_out)
    if settings.sizes and fitted.predicted_loss(asked.runs[0]) is None:
        notes.append(_NO_SINGLE_RUN)
    numbers = numbers_of(fitted, asked)
    notes += _senseless(numbers, found.intervals, observations, settings)
    return Analysis(
        method=method,
        fitted=fitted,
        numbers=numbers,
        intervals=found.intervals,
        held_out=_held_out(fitted, held_out, found.intervals),
        notes=tuple(notes),
    )


def _senseless(
    numbers: dict[str, float],
    intervals: dict[str, Interval],
    observations: Observations,
    settings: Settings,
) -> list[str]:
    """Say of predictions that no run can have: of no size, or surely worse than what cost less."""
    said = [
        f"{name} is {value:.3g}, which no run has: this fit predicts nothing there"
        for name, value in numbers.items()
        if " at " in name and not 0 < value < np.inf
    ]
    reached = observations.loss.min()
    for flops in settings.budgets:
        name = f"loss at {flops:g}"
        surely = numbers.get(name, 0.0) / _WORSE
        if name in intervals:
            surely = max(surely, intervals[name].low / _SCATTER)
        if flops > observations.flops.max() and surely > reached:
            said.append(
                f"the loss at {flops:g} is above {reached:.4g}, which a cheaper run reached: none to go by"
            )
    return said


def without_repeats(observations: Observations) -> Observations:
    """Return the runs that saw no token twice, as far as the table tells."""
    return observations.take(_once(observations))


def fitted_runs(observations: Observations, settings: Settings) -> Observations:
    """Return the runs that laws are of: without those that repeat tokens, unless kept or all."""
    return observations.take(_of_laws(observations, settings))


def highest_loss(observations: Observations, settings: Settings) -> float:
    """Return that of all runs of a table which do not look diverged; 0 without any."""
    return float(observations.loss[~_suspected(observations, settings)].max(initial=0.0))


def _once(observations: Observations) -> np.ndarray:
    if observations.unique_tokens is None:
        return np.ones(len(observations), bool)
    return observations.tokens <= ONCE * observations.unique_tokens


def _of_laws(observations: Observations, settings: Settings) -> np.ndarray:
    once = _once(observations)
    return np.ones(len(once), bool) if settings.keep_repeats or not once.any() else once


def _suspected(observations: Observations, settings: Settings) -> np.ndarray:
    """Return which runs of a table look diverged, [P], among those that laws are fitted to."""
    fitted = _of_laws(observations, settings) & (observations.flops < (settings.fit_below or np.inf))
    found = np.zeros(len(observations), bool)
    if fitted.any():
        found[fitted] = diverged(observations.take(fitted))
    return found


def described(observations: Observations, settings: Settings) -> str:
    """Return what a table has, in a line."""
    everything, observations = observations, fitted_runs(observations, settings)
    if not len(observations):
        return "0 runs"
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
    more = len(everything) - len(observations)
    return ", ".join(parts) + (f"; {more} more that repeat tokens" if more else "")


def warnings(observations: Observations, settings: Settings, *, highest: float = 0.0) -> list[str]:
    """Return what a table is too little for, whatever the method.

    Args:
      observations: of the table.
      settings: of its analysis.
      highest: loss (``highest_loss``) of other tables of the file, on which a bound of losses acts, too.
    """
    suspected = _suspected(observations, settings)
    bad, highest = observations.take(suspected), observations.loss[~suspected].max(initial=highest)
    observations, said = fitted_runs(observations, settings), []
    is_held_out = observations.flops >= (settings.fit_below or np.inf)
    held_out, observations = observations.take(is_held_out), observations.take(~is_held_out)
    if not len(observations):
        return said
    if len(bad):
        said.append(diverged_note(bad, num_runs=len(observations), highest=highest))
    for name, values in (("parameters", observations.params), ("tokens", observations.tokens)):
        span = float(values.max() / values.min())
        if span < _NARROW:
            said.append(
                f"{name} differ by a factor of {span:.2g} only; an exponent of them is hardly determined"
            )
    return said + _far(observations, settings, held_out)


def _held_out(fitted: Fitted, runs: Observations, intervals: dict[str, Interval]) -> tuple[HeldOut, ...]:
    """Return how each of these runs is predicted."""
    predicted = fitted.predicted_loss(runs)
    if predicted is None:
        return ()
    values = (runs.params, runs.tokens, runs.flops, runs.loss, predicted)
    rows = sorted(zip(*(each.tolist() for each in values), strict=True), key=lambda row: row[2])
    return tuple(
        HeldOut(
            params=params,
            tokens=tokens,
            flops=flops,
            loss=loss,
            predicted=value,
            interval=intervals.get(loss_name(params, tokens)),
        )
        for params, tokens, flops, loss, value in rows
    )


def _unpredicted(fitted: Fitted, held_out: Observations) -> list[str]:
    """Say what of the runs that were to be predicted is not, or how well they are together."""
    if not len(held_out):
        return ["no run costs so much that it is held out"]
    if fitted.predicted_loss(held_out) is None:
        return [f"{len(held_out)} runs held out; {_NO_SINGLE_RUN}"]
    return [f"held out: {fitted.held_out(held_out)}"]


def _largest(observations: Observations, method: Method) -> list[str]:
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
        largest = budgets == budgets.max()
        what = f"the budget of {np.mean(observations.flops[largest]):.3g} FLOPs"
    if not largest.any() or largest.all():
        return ["nothing is held out: no run costs more than the others"]
    try:
        fitted = method.fit(observations.take(~largest))
    except DataError as error:
        return [f"not fitted without {what}, so that nothing checks it: {error}"]
    said = fitted.held_out(observations.take(largest))
    return [] if said is None else [f"fitted without {what}: {said}"]


def _far(fitted: Observations, settings: Settings, held_out: Observations) -> list[str]:
    """Say of everything that is to be predicted how far it is beyond what was fitted."""
    largest = float(fitted.flops.max())
    said = [
        f"{flops:g} FLOPs are {flops / largest:,.0f} times the largest run"
        for flops in settings.budgets
        if flops > _FAR * largest
    ]
    asked = {
        f"N={params:g}, D={tokens:g} is": replace(settings, sizes=((params, tokens),)).asked.runs[0]
        for params, tokens in settings.sizes
    }
    if len(held_out):
        asked[f"{len(held_out)} runs held out are up to"] = held_out
    for name, runs in asked.items():
        factors = {
            "the largest FLOPs": runs.flops.max() / largest,
            "the largest N": runs.params.max() / fitted.params.max(),
            "the largest D": runs.tokens.max() / fitted.tokens.max(),
            "below the smallest N": fitted.params.min() / runs.params.min(),
            "below the smallest D": fitted.tokens.min() / runs.tokens.min(),
        }
        if far := [f"{factor:,.0f} times {what}" for what, factor in factors.items() if factor > _FAR]:
            said.append(f"{name} {', '.join(far)} of the fitted runs")
    return [f"{each}: an extrapolation, which intervals understate" for each in said]

"""Which of several runs to use: by one metric, within a budget, and what cannot be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.metric_order import lower_is_better
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.bootstrap import Difference
from t5lite.runner.comparison import ComparedRun, Measured, paired_difference
from t5lite.training.metrics_log import UNNAMED_EVALUATION


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may have at most; None is no limit."""

    max_parameters: float | None = None
    max_flops: float | None = None
    """Of its training."""

    def admits(self, run: ComparedRun) -> bool:
        """Whether a run is within it; one whose FLOPs are not recorded is not within a limit of them."""
        if self.max_parameters is not None and run.num_parameters > self.max_parameters:
            return False
        return self.max_flops is None or (run.training_flops or float("inf")) <= self.max_flops

    def __str__(self) -> str:
        limits = {"parameters": self.max_parameters, "training FLOPs": self.max_flops}
        return " and ".join(f"{value:.3g} {name}" for name, value in limits.items() if value is not None)


@dataclass(frozen=True)
class Criterion:
    """By what runs are compared."""

    evaluation: str
    metric: str
    lower_is_better: bool

    def value(self, run: ComparedRun) -> float:
        """Return what a run has of it, of which every run has."""
        return self.measured(run).metrics[self.metric]

    def measured(self, run: ComparedRun) -> Measured:
        """Return the evaluation of a run."""
        return run.evaluations[self.evaluation]


def criterion(runs: Sequence[ComparedRun], *, evaluation: str | None, metric: str | None) -> Criterion:
    """Return what all runs can be compared by.

    That is what is asked for, or the first metric of predictions with an interval, or bits per byte, or the
    loss.

    Args:
      runs: two or more.
      evaluation: its name; None for the first that all have.
      metric: its name; None chooses.

    Raises:
      ConfigError: if not all of them have it, with what they have.
    """
    shared = [name for name in runs[0].evaluations if all(name in run.evaluations for run in runs)]
    name = evaluation or next(iter(shared), UNNAMED_EVALUATION)
    if name not in shared:
        lacking = ", ".join(run.run for run in runs if name not in run.evaluations)
        raise ConfigError(
            f"the evaluation {name!r} is not recorded in {lacking}"
            f"{suggestion(name, shared) if shared else '; the runs have none in common'}; `t5lite evaluate` "
            "records one"
        )
    found = [run.evaluations[name] for run in runs]
    common = [each for each in found[0].metrics if all(each in other.metrics for other in found)]
    of_predictions = [
        each for each in common if each in METRICS and all(each in other.intervals for other in found)
    ]
    # Of likelihoods only that by bytes compares models of different vocabularies.
    likelihoods = [each for each in ("bits_per_byte", "loss") if each in common]
    chosen = metric or next(iter([*of_predictions, *likelihoods, *common]), "loss")
    if chosen not in common:
        raise ConfigError(
            f"not every run has the metric {chosen!r} of {name}{suggestion(chosen, common)}; "
            "`t5lite evaluate` measures it"
        )
    return Criterion(name, chosen, lower_is_better(chosen))


def pareto(runs: Sequence[ComparedRun], by: Criterion, costs: Sequence[float]) -> list[bool]:
    """Return whether each run is on the front: none is as good for less cost, or better for as much."""
    sign = -1 if by.lower_is_better else 1
    goods = [sign * by.value(run) for run in runs]
    places = range(len(runs))
    return [
        not any(
            costs[other] <= costs[place]
            and goods[other] >= goods[place]
            and (costs[other], goods[other]) != (costs[place], goods[place])
            for other in places
        )
        for place in places
    ]


def advice(runs: Sequence[ComparedRun], by: Criterion, budget: Budget) -> str:
    """Return which run to choose, in plain words, and why."""
    admitted = [run for run in runs if budget.admits(run)]
    within = f"within {budget}" if str(budget) else "of these"
    if not admitted:
        smallest = min(runs, key=lambda run: run.num_parameters)
        return (
            f"No run is {within}; the smallest, {smallest.run}, has {smallest.num_parameters:,} parameters."
        )
    best = (min if by.lower_is_better else max)(admitted, key=by.value)
    known = f"{by.metric} of {by.evaluation} {shown(best, by)}"
    if len(admitted) == 1:
        return f"Use {best.run}: it is the only one {within} ({known})."
    smaller = [run for run in admitted if run.num_parameters < best.num_parameters]
    for run in sorted(smaller, key=lambda run: run.num_parameters):
        if (why := _not_told_apart(best, run, by)) is not None:
            share = best.num_parameters / run.num_parameters
            return (
                f"Use {run.run}: {best.run} is the best {within} ({known}), but {why}, and {run.run} has "
                f"{share:.1f} times fewer parameters ({by.metric} {shown(run, by)})."
            )
    second = (min if by.lower_is_better else max)((run for run in admitted if run is not best), key=by.value)
    doubt = _not_told_apart(best, second, by)
    tail = f"; {doubt}" if doubt else f"; next is {second.run} with {shown(second, by)}"
    found = paired_difference(by.measured(best), by.measured(second), by.metric)
    if found is not None and found.is_clear:
        low, high = found.interval.low, found.interval.high
        tail += f", {found.value:.3g} [{low:.3g}, {high:.3g}] less on the same examples"
    return f"Use {best.run}: it is the best {within} ({known}){tail}."


def shown(run: ComparedRun, by: Criterion) -> str:
    """Return a run's value with its interval, if it has one."""
    measured = by.measured(run)
    value = f"{measured.metrics[by.metric]:.4g}"
    interval = measured.intervals.get(by.metric)
    return value if interval is None else f"{value} [{interval.low:.4g}, {interval.high:.4g}]"


def _not_told_apart(best: ComparedRun, other: ComparedRun, by: Criterion) -> str | None:
    """Return why another run may be as good, or None where the examples tell them apart, or nothing does."""
    first, second = by.measured(best), by.measured(other)
    found: Difference | None = paired_difference(first, second, by.metric)
    if found is not None:
        if found.is_clear:
            return None
        ends = f"[{found.interval.low:.3g}, {found.interval.high:.3g}]"
        return (
            f"the difference from {other.run} on the same examples, {found.value:.3g} {ends}, may be chance"
        )
    mine, theirs = first.intervals.get(by.metric), second.intervals.get(by.metric)
    if mine is None or theirs is None or mine.low > theirs.high or theirs.low > mine.high:
        return None
    return (
        f"its interval overlaps with that of {other.run} (not the same examples: measure both on one store)"
    )

"""Which of several runs to use: by one metric, within a budget, and what cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.metric_order import lower_is_better
from t5lite.evaluation.metrics.bootstrap import Difference
from t5lite.evaluation.scoring import find_metric
from t5lite.runner.comparison import BITS_PER_BYTE, ComparedRun, are_comparable, paired_difference
from t5lite.runner.measurements import Measured
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
    chosen: Mapping[str, Measured]
    """What of each run is compared, by the run; of the same examples for as many of them as can be."""
    apart: frozenset[str] = frozenset()
    """Runs whose figures are of other examples, so that they say nothing beside those of the others."""

    def value(self, run: ComparedRun) -> float:
        """Return what a run has of it, of which every run has."""
        return self.measured(run).metrics[self.metric]

    def measured(self, run: ComparedRun) -> Measured:
        """Return the evaluation of a run."""
        return self.chosen[run.run]

    def has_number(self, run: ComparedRun) -> bool:
        """Whether a run's value is one, which that of a training that diverged is not."""
        return math.isfinite(self.value(run))

    def comparable(self, runs: Sequence[ComparedRun]) -> list[ComparedRun]:
        """Return the runs that were measured on the same examples."""
        return [run for run in runs if run.run not in self.apart]

    def notes(self, runs: Sequence[ComparedRun]) -> list[str]:
        """Return which are no numbers, and what they are of, in a line where all are of the same."""
        none = [
            f"{run.run}: {self.metric} of {self.evaluation} is {self.value(run)}, no number: it is neither "
            "chosen nor drawn"
            for run in runs
            if not self.has_number(run)
        ]
        return none + self._sources(runs)

    def _sources(self, runs: Sequence[ComparedRun]) -> list[str]:
        chosen = list(self.chosen.values())
        described = {run.run: self.measured(run).describe(chosen) for run in runs}
        if len(set(described.values())) == 1:
            return [f"{self.evaluation} of all of them: {next(iter(described.values()))}"]
        compared = [self.measured(run) for run in self.comparable(runs)]
        of_one_text = []
        if not all(each.is_of_same_data(compared[0]) for each in compared) and self.metric == BITS_PER_BYTE:
            of_one_text = [
                "bits_per_byte of different vocabularies says which is better if their stores hold the same "
                "text, which nothing here tells"
            ]
        apart = ", not the same examples or decoding as of the others" if len(self.apart) < len(runs) else ""
        return [
            f"{run}: {self.evaluation} of {words}{apart if run in self.apart else ''}"
            for run, words in described.items()
        ] + of_one_text


class Recorded(NamedTuple):
    """Runs in which one evaluation is recorded."""

    runs: list[ComparedRun]
    evaluation: str | None
    """Its name; None: all runs are among them, and have one in common at least."""
    notes: list[str]
    """What to say of those that lack it, in a line."""


def recorded(runs: Sequence[ComparedRun], *, evaluation: str | None) -> Recorded:
    """Return the runs that can be compared by one evaluation: that of the name, or that most have.

    Raises:
      ConfigError: if none has it, or no two have one in common, with what they have.
    """
    names = dict.fromkeys(name for run in runs for name in run.evaluations)
    having = {name: [run for run in runs if name in run.evaluations] for name in names}
    if evaluation is None and any(len(each) == len(runs) for each in having.values()):
        return Recorded(list(runs), None, [])
    most = max(having, key=lambda name: len(having[name]), default=UNNAMED_EVALUATION)
    name, least = (most, 2) if evaluation is None else (evaluation, 1)
    kept = having.get(name, [])
    lacking = [run.run for run in runs if run not in kept]
    if len(kept) < least:
        raise ConfigError(
            f"the evaluation {name!r} is not recorded in {', '.join(lacking)}"
            f"{suggestion(name, names) if least == 1 and names else '; the runs have none in common'}; "
            "`t5lite evaluate` records one"
        )
    left_out = f"{len(lacking):,} of {len(runs):,} runs left out, in which {name} is not recorded"
    remedy = "`t5lite evaluate` records it"
    return Recorded(kept, name, [f"{left_out}: {', '.join(lacking)}; {remedy}"] * bool(lacking))


def criterion(runs: Sequence[ComparedRun], *, evaluation: str | None, metric: str | None) -> Criterion:
    """Return what all runs can be compared by.

    That is what is asked for, or the first metric of predictions with an interval, or bits per byte, or the
    loss.

    Of what a run measured, that is compared which is of the same examples as of most other runs.

    Args:
      runs: that have an evaluation in common (``recorded``).
      evaluation: its name; None for the first that all have, one of the same examples before others.
      metric: its name; None chooses.

    Raises:
      ConfigError: if not all of them have the metric, with what they have.
      DataError: if a file of predictions is damaged.
    """
    shared = [name for name in runs[0].evaluations if all(name in run.evaluations for run in runs)]
    found, refused = [], []
    for each in [evaluation] if evaluation else shared:
        try:
            found.append(_criterion(runs, each, metric))
        except ConfigError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return min(found, key=lambda each: len(each.apart))


def _criterion(runs: Sequence[ComparedRun], name: str, metric: str | None) -> Criterion:
    """Return how runs are compared by one evaluation; errors as of ``criterion``."""
    chosen, _ = _alike(runs, name, metric)
    common = [each for each in chosen[0].metrics if all(each in other.metrics for other in chosen)]
    of_predictions = [
        each for each in common if find_metric(each) and all(each in other.intervals for other in chosen)
    ]
    # Of likelihoods only that by bytes compares models of different vocabularies.
    likelihoods = [each for each in (BITS_PER_BYTE, "loss") if each in common]
    by = metric or next(iter([*of_predictions, *likelihoods, *common]), "loss")
    if by not in common:
        raise ConfigError(
            f"not every run has the metric {by!r} of {name}{suggestion(by, common)}; `t5lite evaluate` "
            "measures it"
        )
    chosen, apart = _alike(runs, name, by)
    by_run = {run.run: measured for run, measured in zip(runs, chosen, strict=True)}
    return Criterion(name, by, lower_is_better(by), by_run, frozenset(apart))


def _alike(runs: Sequence[ComparedRun], name: str, metric: str | None) -> tuple[list[Measured], list[str]]:
    """Return what of each run is compared, and the runs that have nothing of the same examples."""
    having = {
        run.run: [each for each in run.evaluations[name] if metric is None or metric in each.metrics]
        or run.evaluations[name]
        for run in runs
    }
    most: dict[str, Measured] = {}
    for first in (each for measured in having.values() for each in measured):
        alike = {
            run: next((each for each in measured if are_comparable(first, each, metric)), None)
            for run, measured in having.items()
        }
        same = {run: each for run, each in alike.items() if each is not None}
        if len(same) > max(len(most), min(len(runs) - 1, 1)):  # one alone is like no other
            most = same
        if len(most) == len(runs):
            break
    apart = [run for run in having if run not in most]
    return [most.get(run, measured[0]) for run, measured in having.items()], apart


def pareto(runs: Sequence[ComparedRun], by: Criterion, costs: Sequence[float]) -> list[bool]:
    """Return whether each run is on the front: none is as good for less cost, or better for as much.

    A run that was measured on other examples is beside it.
    """
    sign = -1 if by.lower_is_better else 1
    goods = [sign * by.value(run) for run in runs]
    places = [place for place, run in enumerate(runs) if run.run not in by.apart and by.has_number(run)]
    return [
        place in places
        and not any(
            costs[other] <= costs[place]
            and goods[other] >= goods[place]
            and (costs[other], goods[other]) != (costs[place], goods[place])
            for other in places
        )
        for place in range(len(runs))
    ]


def advice(runs: Sequence[ComparedRun], by: Criterion, budget: Budget) -> str:
    """Return which run to choose, in plain words, and why."""
    runs = by.comparable(runs)
    if not runs:
        return (
            f"No choice is made: {by.evaluation} of these runs is not of the same examples, or decoded "
            "otherwise; measure them alike, by `t5lite evaluate --run RUN` with one --store, one "
            "--max-examples and one --task."
        )
    runs = [run for run in runs if by.has_number(run)]
    if not runs:
        return f"No choice is made: {by.metric} of {by.evaluation} is a number of none of these runs."
    admitted = [run for run in runs if budget.admits(run)]
    compared = "of those on the same examples" if by.apart else "of these"
    within = f"within {budget}" if str(budget) else compared
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

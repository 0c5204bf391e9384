"""A run directory as a report shows it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t5lite.core.storage.addresses import StoragePath
from t5lite.run_config import RunConfig
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.status import RunStatus, run_status
from t5lite.scaling.counting import count_run, shape_of
from t5lite.scaling.report.reported_run import FINISHED, Curve, Material, ReportedRun, number
from t5lite.scaling.sweep_measures import chief_values, measured_values
from t5lite.training.goodput import goodput
from t5lite.training.metrics_log import METRICS_FILE

Entry = Mapping[str, Any]
_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDirectories:
    """Directories of ``t5lite train``.

    Attributes:
      columns: of rows, for some of what laws are of (``column_names.NAMES``).
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    about = "run directory"
    is_group = False

    def holds(self, path: StoragePath) -> bool:
        """Whether this is one."""
        names = ("config.json", METRICS_FILE, "model.json")
        return any((path / name).is_file() for name in names)

    def read(self, path: StoragePath) -> Material:
        """Return the run; errors as of ``read_run``."""
        return Material(runs=(read_run(path).with_columns(self.columns),))


def read_run(path: StoragePath) -> ReportedRun:
    """Return what the files of a run tell.

    Raises:
      UserError: if it is no run, or something in it is damaged.
      TransientError: if object storage does not answer.
    """
    directory = RunDirectory.at(str(path))
    status, found = run_status(str(directory.path)), Snapshot(directory)
    config = found.config
    entries, num_repeated = once_each(found.metrics)
    costs = _Costs.of(config)
    measured = measured_values(found, status.step)
    examples = costs.examples(entries, status.step)
    cost = goodput(status.attempts)  # up to its last sign of life: of a dead run, status counts until now
    row = {
        "params": costs.params,
        "tokens": round(examples * costs.tokens),
        "flops": examples * costs.flops,
        **chief_values(found, measured),
        "steps": status.step,
        "batch_size": config.training.batch_size,
        "highest_rate": config.schedule.highest,
        "seconds": cost.total_seconds,
        "goodput": cost.share,
    }
    curve, num_lost = _curve(config, entries, costs)
    return ReportedRun(
        name=path.name,
        family=config.model.architecture.replace("_", "-"),
        state=status.state,
        row=row,
        points=(row,),
        step=status.step,
        total_steps=status.total_steps,
        whole_tokens=_whole_tokens(status, entries, costs),
        curve=curve,
        origin=str(path),
        time=_last_seen(status),
        num_starts=len(status.attempts),
        num_rollbacks=status.incidents.rollbacks,
        num_lost=num_lost,
        num_repeated=num_repeated,
    )


def _whole_tokens(status: RunStatus, entries: Sequence[Entry], costs: "_Costs") -> float | None:
    """Return the tokens at the end of a run that is under way; None of one that is over, or if not known."""
    if status.state == FINISHED or status.total_steps is None:
        return None
    return costs.examples(entries, status.total_steps) * costs.tokens


def once_each(entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    """Return entries in the order of steps, of steps that were done again the later ones, and how many went.

    A run that goes back drops these from its file; a file that was put together by hand may have both.
    """
    kept: list[Entry] = []
    last: dict[tuple[str, Any], int] = {}
    dropped = 0
    for entry in entries:
        key = (entry["kind"], entry.get("evaluation"))
        if key[0] == "start" or entry["step"] > last.get(key, -1):
            kept.append(entry)
        else:
            before = len(kept)
            kept = [each for each in kept if not _is_again(each, entry)]
            dropped += before - len(kept)
            kept.append(entry)
        last[key] = entry["step"]
    return sorted(kept, key=lambda entry: entry["step"]), dropped


def _is_again(earlier: Entry, later: Entry) -> bool:
    alike = earlier["kind"] == later["kind"] and earlier.get("evaluation") == later.get("evaluation")
    return alike and earlier["step"] >= later["step"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Costs:
    """Of one example: tokens and training FLOPs; and the parameters of the model."""

    params: int
    tokens: float
    flops: float
    batch_size: int

    @classmethod
    def of(cls, config: RunConfig) -> "_Costs":
        # Of one that goes by epochs, config.json may not say the steps: what one example costs is known.
        count = count_run(
            dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=None))
        )
        tokens = shape_of(config).tokens
        return cls(
            params=count.params,
            tokens=tokens,
            flops=count.flops / (count.tokens / tokens),
            batch_size=config.training.batch_size,
        )

    def examples(self, entries: Sequence[Entry], step: int) -> float:
        """Return how many were trained on up to a step; batches may have had several sizes."""
        known = [(each["step"], number(each.get("examples_seen"))) for each in entries if each["step"]]
        known = [(at, seen) for at, seen in known if math.isfinite(seen) and at <= step]
        if not known:
            return float(step * self.batch_size)
        at, seen = max(known)
        return seen + (step - at) * self.batch_size


def _curve(config: RunConfig, entries: Sequence[Entry], costs: _Costs) -> tuple[Curve | None, int]:
    """Return the losses over the training, and how many entries have none that is finite."""
    train = [each for each in entries if each["kind"] == "train"]
    evaluated = [
        each
        for each in entries
        if each["kind"] == "eval" and each["evaluation"] == config.best_evaluation and each["step"]
    ]
    shown = evaluated or train
    finite = [each for each in shown if math.isfinite(number(each.get("loss")))]
    if not finite:
        return None, len(shown)
    steps = np.array([each["step"] for each in finite], float)
    examples = np.array([costs.examples([each], each["step"]) for each in finite])
    curve = Curve(
        steps=steps,
        tokens=examples * costs.tokens,
        flops=examples * costs.flops,
        hours=_hours(train, steps),
        loss=np.array([each["loss"] for each in finite], float),
        is_training=not evaluated,
    )
    return curve, len(shown) - len(finite)


def _hours(train: Sequence[Entry], steps: np.ndarray) -> np.ndarray:
    """Return the hours in training steps up to each of ``steps``, [P]."""
    timed = [(each["step"], number(each.get("steps")) * number(each.get("step_seconds"))) for each in train]
    timed = [(step, seconds) for step, seconds in timed if math.isfinite(seconds)]
    if not timed:
        return np.full(len(steps), np.nan)
    at, seconds = zip(*timed, strict=True)
    return np.interp(steps, [0, *at], [0, *np.cumsum(seconds)]) / _SECONDS


def _last_seen(status: RunStatus) -> float | None:
    return max((each.seen for each in status.attempts), default=None)

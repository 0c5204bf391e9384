"""Which checkpoint of a run a command reads: the one of a step, the newest, or the best."""

import sys
from collections.abc import Callable
from typing import Literal, TypeVar

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.checkpointing.reading import Step, resolve_step
from t5lite.checkpointing.retention import best_steps
from t5lite.core.errors import CheckpointError
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import leaders_result
from t5lite.runner.averages import Average
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import METRICS_FILE, UNNAMED_EVALUATION

Value = TypeVar("Value")


def evaluations(found: Snapshot, name: str, metric: str) -> dict[int, float]:
    """Return what a training's evaluation of that name found for ``metric``, by its step.

    Raises:
      DataError: if the metrics file is damaged.
    """
    return {
        entry["step"]: entry[metric]
        for entry in found.metrics
        if (entry["kind"], entry.get("evaluation")) == ("eval", name)
        and isinstance(entry.get(metric), int | float)
    }


def best_step(found: Snapshot) -> int:
    """Return the checkpoint that was the best on held-out data, by the run's ``checkpoints.best_metric``.

    Raises:
      CheckpointError: if none of those that are there was evaluated.
    """
    directory, steps = found.directory, found.steps
    run = found.config if found.has_config else None
    config = run.checkpoints if run else CheckpointConfig()
    name = (run and run.best_evaluation) or UNNAMED_EVALUATION
    scores = evaluations(found, name, config.best_value)
    there = {step: score for step, score in scores.items() if step in steps}
    if not there:
        raise CheckpointError(
            f"none of the checkpoints of {directory.path} (steps {', '.join(map(str, steps)) or 'none'}) has "
            f"{config.best_value!r} of the evaluation {name!r} in {METRICS_FILE}; choose one by its step, or "
            "newest"
        )
    return best_steps(there, 1, highest=config.highest_is_best)[0]


def chosen_average(found: Snapshot, step: Step, average: Average | None) -> Average | None:
    """Return what is taken of the chosen checkpoint in place of its parameters; None takes these.

    The best one is the best of what was measured: where that was an average, so is what is taken.

    Args:
      found: the run.
      step: as it was chosen.
      average: what is asked for; of one checkpoint, its own parameters.
    """
    return measured_average(found, step) if average is None else average


def measured_average(found: Snapshot, step: Step) -> Literal["ema"] | None:
    """Return what made the best checkpoint the best; None: its own parameters, or another one is chosen."""
    name = found.config.best_evaluation if step == "best" and found.has_config else None
    return None if name is None else found.config.evaluations[name].average


def chosen_step(found: Snapshot, step: Step) -> int:
    """Return the step of the chosen checkpoint.

    Raises:
      CheckpointError: if there is no such checkpoint, with those that there are.
    """
    if step == "best":
        return best_step(found)
    return resolve_step(found.directory.checkpoints, None if step == "newest" else step, found.steps)


def read_chosen(
    directory: RunDirectory, step: Step, read: Callable[[int], Value], *, first: int | None = None
) -> Value:
    """Return what ``read`` makes of the chosen checkpoint, the same one in all processes.

    Where the newest is chosen and the run goes on meanwhile, that one may be removed while it is read. Then a
    newer one is there, and is read instead.

    Args:
      directory: of the run.
      step: which one is chosen.
      read: reads a step in all processes, and raises an error in all of them or in none.
      first: the step of the chosen one, where all processes know it already.

    Raises:
      CheckpointError: if there is no such checkpoint, or it cannot be read.
    """

    def choose() -> int:
        return leaders_result(lambda: chosen_step(Snapshot(directory), step))

    chosen = choose() if first is None else first
    while True:
        try:
            return read(chosen)
        except CheckpointError:
            newest = chosen if step != "newest" else choose()
            if newest <= chosen:
                raise
        if multihost.is_leader():
            print(
                f"note: step {chosen} was removed by the run that goes on; taking step {newest}",
                file=sys.stderr,
            )
        chosen = newest

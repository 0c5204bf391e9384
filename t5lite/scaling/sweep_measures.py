"""Which of a run's records are what a sweep measures of it: as its configuration says, at its last step.

Whoever measures a run besides (another checkpoint, store, task, average or number of examples, a probe)
writes records, too, and these are of something else.
"""

from collections.abc import Mapping

from t5lite.core.storage.addresses import absolute_location
from t5lite.evaluation.config import EvaluationConfig
from t5lite.runner.comparison import BITS_PER_BYTE
from t5lite.runner.heldout_scores import MASKED
from t5lite.runner.measurements import Measured, measurements
from t5lite.runner.snapshot import Snapshot

_COUNTING = ("average", "max_examples", "task")
"""What, besides the store, makes an evaluation another one."""
_CHIEF = ("loss", "text_loss", BITS_PER_BYTE, MASKED)
"""Of the evaluation that says which checkpoint is best, in columns without its name."""


def is_measured(found: Snapshot, step: int) -> bool:
    """Whether ``t5lite evaluate`` has measured all that the configuration names; errors as of its readers."""
    every = _own(found, step).values()
    return all(any(each.num_examples is not None for each in records) for records in every)


def measured_values(found: Snapshot, step: int) -> Mapping[str, float]:
    """Return what was measured by ``evaluation/metric``; errors as of its readers.

    What ``t5lite evaluate`` found counts, then what the training itself did.
    """
    return {
        f"{name}/{metric}": value
        for name, records in _own(found, step).items()
        for each in reversed(records)
        for metric, value in each.metrics.items()
    }


def chief_values(found: Snapshot, measured: Mapping[str, float]) -> dict[str, float | None]:
    """Return of ``measured_values`` what compares runs, by names without that of an evaluation."""
    chief = {metric: measured.get(f"{found.config.best_evaluation}/{metric}") for metric in _CHIEF}
    return chief | {"bits": chief[MASKED] if chief[BITS_PER_BYTE] is None else chief[BITS_PER_BYTE]}


def _own(found: Snapshot, step: int) -> dict[str, list[Measured]]:
    every = measurements(found)
    return {
        name: [each for each in every.get(name, ()) if each.step == step and _is_of(evaluation, each)]
        for name, evaluation in found.config.evaluations.items()
    }


def _is_of(evaluation: EvaluationConfig, measured: Measured) -> bool:
    return (
        measured.store is not None
        and absolute_location(measured.store) == absolute_location(evaluation.store)
        and all(getattr(measured, name) == getattr(evaluation, name) for name in _COUNTING)
    )

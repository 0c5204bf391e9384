"""Early stopping of a run: by which evaluation, and what earlier attempts measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from t5lite.run_config import RunConfig
from t5lite.training.early_stopping import EarlyStopping


def early_stopping(config: RunConfig, earlier: Iterable[Mapping[str, Any]]) -> EarlyStopping | None:
    """Return what ends a run before its last step; None where nothing does.

    Args:
      config: of the run.
      earlier: entries of evaluations, up to where the run goes on.
    """
    training, checkpoints = config.training, config.checkpoints
    if training.early_stopping_patience is None:
        return None
    stopping = EarlyStopping(
        patience=training.early_stopping_patience,
        min_delta=training.early_stopping_min_delta,
        metric=checkpoints.best_value,
        highest=checkpoints.highest_is_best,
    )
    for entry in earlier:
        if entry["evaluation"] == config.best_evaluation:
            stopping.record(entry["step"], entry)
    return stopping


def lacking_message(config: RunConfig, stopping: EarlyStopping | None) -> str | None:
    """Return what to say of earlier evaluations that did not measure what the run may end by."""
    if stopping is None or not stopping.num_lacking:
        return None
    return (
        f"note: {stopping.num_lacking:,} earlier evaluation(s) of {config.best_evaluation} did not measure "
        f"{config.checkpoints.best_value}, and do not count for training.early_stopping_patience="
        f"{config.training.early_stopping_patience}"
    )

"""Early stopping of a run: by which evaluation, and what earlier attempts measured."""

from t5lite.runner.beginning import Run
from t5lite.training.early_stopping import EarlyStopping


def early_stopping(run: Run) -> EarlyStopping | None:
    """Return what ends the run before its last step, with what was measured up to where it goes on."""
    training, checkpoints = run.config.training, run.config.checkpoints
    if training.early_stopping_patience is None:
        return None
    stopping = EarlyStopping(
        patience=training.early_stopping_patience,
        min_delta=training.early_stopping_min_delta,
        metric=checkpoints.best_value,
        highest=checkpoints.highest_is_best,
    )
    for entry in run.plan.evaluations:
        if entry["evaluation"] == run.config.best_evaluation:
            stopping.record(entry["step"], entry)
    return stopping

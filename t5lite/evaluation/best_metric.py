"""The metric that says which checkpoints are the best, and when a training gets no better: is it measured?"""

from collections.abc import Callable, Mapping

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core.errors import ConfigError, suggestion
from t5lite.evaluation.config import EvaluationConfig, known_name
from t5lite.models.config import ModelConfig
from t5lite.training.config import TrainingConfig


def check_best_metric(
    checkpoints: CheckpointConfig,
    training: TrainingConfig,
    evaluations: Mapping[str, EvaluationConfig],
    model: ModelConfig,
    task_metrics: Callable[[str], tuple[str, ...]],
) -> None:
    """Check that a training measures ``checkpoints.best_metric`` where something goes by it.

    Args:
      checkpoints: of the training, which name the metric.
      training: which may end by it.
      evaluations: by name.
      model: that is trained.
      task_metrics: returns the names of the metrics of a task.

    Raises:
      ConfigError: naming what is missing, or the metrics that there are.
    """
    if checkpoints.keep_best and not evaluations:
        raise ConfigError(
            f"checkpoints.keep_best={checkpoints.keep_best} keeps the best on held-out data, and there "
            "is none: give evaluations.NAME.store"
        )
    said_by = f"checkpoints.best_metric={checkpoints.best_metric!r}"
    if checkpoints.best_evaluation is not None:
        known_name(checkpoints.best_evaluation, evaluations, said_by=said_by)
    name = checkpoints.best_evaluation or next(iter(evaluations), None)
    every_steps = name and (evaluations[name].every_steps or training.eval_every_steps)
    if training.early_stopping_patience is not None and every_steps is None:
        raise ConfigError(
            f"training.early_stopping_patience={training.early_stopping_patience} counts evaluations before "
            "the last step, and there are none: give evaluations.NAME.store and training.eval_every_steps"
        )
    if name is None or not (checkpoints.keep_best or training.early_stopping_patience):
        return
    evaluation = evaluations[name]
    measured = evaluation.metrics_in_training(model)
    if checkpoints.best_value in measured:  # a task may be a file, and gone
        return
    scored = task_metrics(evaluation.task) if evaluation.task else ()
    if checkpoints.best_value in scored and not evaluation.task_in_training:
        raise ConfigError(
            f"{said_by} is a metric of generated text, which a training measures with "
            f"evaluations.{name}.task_in_training=True"
        )
    measured += scored * evaluation.task_in_training
    if checkpoints.best_value not in measured:
        raise ConfigError(
            f"{said_by} is not what evaluations.{name} measures in a training"
            f"{suggestion(checkpoints.best_value, measured)}"
        )

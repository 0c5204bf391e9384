"""The held-out data of a run's evaluations, opened and checked before anything is computed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.pipeline import Pipeline, SourceDataConfig, open_pipeline
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import decoding_mode
from t5lite.evaluation.config import OF_SCORED_PAIRS, EvaluationConfig
from t5lite.evaluation.scoring import named_metrics
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig
from t5lite.tasks.decoding import task_decoding
from t5lite.tasks.opening import open_task
from t5lite.tasks.task import Task

_ENCODER_USE_EXAMPLES = 2


@dataclass(frozen=True)
class Heldout:
    """What one evaluation measures on."""

    name: str
    config: EvaluationConfig
    pipeline: Pipeline
    task: Task | None = None
    """By which text that is generated is scored."""

    @property
    def num_examples(self) -> int:
        """How many examples the evaluation uses."""
        return len(self.pipeline.evaluated(self.config.max_examples))

    @property
    def has_loss(self) -> bool:
        """Whether the examples say what a loss is taken of; pairs that are scored do not."""
        pairs = self.pipeline.text_pairs
        return pairs is None or pairs.similarities_N is None

    @property
    def is_alone(self) -> bool:
        """Whether no batch has a second example."""
        return self.num_examples < _ENCODER_USE_EXAMPLES or self.config.batch_size < _ENCODER_USE_EXAMPLES

    def measures_encoder_use(self, model: ModelConfig) -> bool:
        """Whether encoder inputs are swapped; a single stack has no encoder that could be ignored."""
        return self.config.encoder_use and model.cross_attends


def open_heldout(
    config: RunConfig, vocabulary: Vocabulary, classes: LabelClasses | None = None
) -> dict[str, Heldout]:
    """Return what each evaluation of a run measures on, by its name.

    A pipeline passes once over whole examples: pairs are not packed, so that encoder use swaps the input of
    one pair for that of another, and overlong ones are cut, not left out, so that every model sees the same
    pairs. Evaluations that read a store alike share one.

    Args:
      config: of the run.
      vocabulary: of the training store.
      classes: of the training store, for a classifier.

    Raises:
      ConfigError: if a task or one of its metrics is not there, the model cannot write as its decoding says,
        or a held-out store was tokenised with another vocabulary than the training store.
      DataError: if a store cannot be used, or has a class that the training store has not.
    """
    is_classifier = config.model.num_named_labels is not None
    if config.evaluations and is_classifier and classes is None:
        raise ConfigError(
            f"{config.run_dir} has no classes.json, so that nothing says what the outputs of its model mean; "
            "restore that file, or fine-tune the model on pairs whose targets are the classes"
        )
    opened: dict[SourceDataConfig, Pipeline] = {}
    tasks: dict[str, Task | None] = {}
    for name, evaluation in config.evaluations.items():
        tasks[name] = _task(config, name, vocabulary)
        data = heldout_data(config, name)
        if data in opened:
            continue
        opened[data] = pipeline = open_pipeline(
            data,
            architecture=config.model.architecture,
            start_id=config.model.decoder_start_id,
            seed=config.seed,
            shuffle=False,
            classes=classes,
        )
        if not pipeline.vocabulary.has_fingerprint(vocabulary.fingerprint):
            raise ConfigError(
                f"evaluations.{name}.store={evaluation.store} was tokenised with another vocabulary than the "
                f"model's; prepare it with --vocabulary {vocabulary.path} --extra-ids {vocabulary.extra_ids}"
            )
    return {
        name: Heldout(name, evaluation, opened[heldout_data(config, name)], tasks[name])
        for name, evaluation in config.evaluations.items()
    }


def _task(config: RunConfig, name: str, vocabulary: Vocabulary) -> Task | None:
    """Return the task of an evaluation, if it has one; errors as of ``open_heldout``."""
    evaluation, data = config.evaluations[name], config.evaluated_data(name)
    if evaluation.task is None:
        return None
    task = open_task(evaluation.task)  # which may be a file, and gone
    named_metrics(task.metrics)
    if task.decoding and data.answer_length is not None:
        mode = decoding_mode(config.model)(
            config.model,
            vocabulary,
            encoder_length=data.inputs_length,
            max_decode_length=data.answer_length,
            decoding=task_decoding(task),
        )
        mode.fitted(())
    return task


def check_encoder_use(heldout: Heldout, model: ModelConfig) -> None:
    """Check that a training can measure encoder use.

    Raises:
      ConfigError: if it is asked for and there is one example only.
    """
    if heldout.measures_encoder_use(model) and heldout.num_examples < _ENCODER_USE_EXAMPLES:
        field = f"evaluations.{heldout.name}"
        raise ConfigError(
            f"encoder use swaps inputs between examples, but only {heldout.num_examples} of {field}.store="
            f"{heldout.config.store} is used; evaluate more, or set {field}.encoder_use=False"
        )


def check_best_is_measured(config: RunConfig, evaluations: Mapping[str, Heldout]) -> None:
    """Check that a training to embed measures ``checkpoints.best_metric`` on the pairs that were opened.

    Only the store says whether its pairs are scored, and pairs have either a loss or scores.

    Raises:
      ConfigError: if something goes by it, and pairs of that kind do not have it.
    """
    checkpoints, name = config.checkpoints, config.best_evaluation
    goes_by_it = checkpoints.keep_best or config.training.early_stopping_patience
    if not goes_by_it or name is None or not config.model.embeds:
        return
    best = evaluations[name]
    measured, kind = OF_SCORED_PAIRS, "pairs with scores"
    if best.has_loss:
        of_both, kind = best.config.metrics_in_training(config.model), "pairs without scores"
        measured = tuple(metric for metric in of_both if metric not in OF_SCORED_PAIRS)
    if checkpoints.best_value not in measured:
        raise ConfigError(
            f"checkpoints.best_metric={checkpoints.best_metric!r} is not what evaluations.{name} measures on "
            f"{kind} (store={best.config.store}){suggestion(checkpoints.best_value, measured)}"
        )


def heldout_data(config: RunConfig, name: str) -> SourceDataConfig:
    """Return how an evaluation's store is read, and examples are made of it."""
    return config.evaluated_data(name).held_out(config.evaluations[name].store)


def example_settings(config: RunConfig, name: str) -> dict[str, Any]:
    """Return how an evaluation makes examples, with what tells losses of one kind from those of another.

    That is the kind of data, which is the objective's name in pretraining, and the model's head.
    """
    data = heldout_data(config, name)
    return {"kind": data.kind, "head": config.model.head, **dataclasses.asdict(data)}

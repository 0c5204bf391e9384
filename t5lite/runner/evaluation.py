"""Measure a run on held-out data: losses, encoder use, n-gram baselines, and a task's own metrics."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import absolute_location
from t5lite.core.types import Tree
from t5lite.data.stores.store_identity import store_identity
from t5lite.evaluation.config import EvaluationConfig, known_name
from t5lite.evaluation.evaluator import Measured
from t5lite.evaluation.metrics.score import Score
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.run_config import RunConfig
from t5lite.runner import evaluated_decoding
from t5lite.runner.averages import Average
from t5lite.runner.baselines import baselines_if_possible
from t5lite.runner.checkpoint_choice import chosen_average
from t5lite.runner.data_messages import labels_unseen
from t5lite.runner.heldout import Heldout, example_settings, open_heldout
from t5lite.runner.heldout_measures import clamped_batch_size, heldout_evaluators
from t5lite.runner.heldout_messages import MajorityClass, majority_class, trained_on
from t5lite.runner.heldout_scores import likelihood_scores, scored_text
from t5lite.runner.imported import measuring_config
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import TrainedModel, load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.scorer import Robustness, Scored
from t5lite.runner.scorers import scorer_of
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import UNNAMED_EVALUATION
from t5lite.training.step import check_batch_size

MINIMAL_PAIRS, MASKED_WORDS, PROBE = OF_TEXTS = ("minimal-pairs", "masked-words", "probe")
"""Names of evaluations that are of a file of texts, not of held-out data."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation measured; losses in nats per target token."""

    name: str
    step: int
    store: str
    num_examples: int
    metrics: dict[str, float]
    scores: Mapping[str, Score] = field(default_factory=dict)
    """Metrics that are more than a number: with an interval, or a signature."""
    predictions: Sequence[Mapping[str, Any]] = ()
    """What was predicted for each example, where something was, with the example's own scores."""
    robustness: Mapping[str, Robustness] = field(default_factory=dict)
    """What changes of the inputs do to the metrics of predictions, by the changes' names."""
    notes: tuple[str, ...] = ()
    """What to know when reading the metrics, a line each."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How it was measured: with another of these, the metrics are others."""
    contents: str | None = None
    """Digest of the store."""


@dataclass(frozen=True, kw_only=True)
class EvaluationChanges:
    """What to measure otherwise than the run's configuration says; None leaves it.

    Attributes:
      store: held-out store.
      max_examples: limit.
      batch_size: examples at once.
      task: how generated text is scored.
      decoding: options of how it is written (``decoding.options``), in place of all of the task's.
      inputs_length: tokens of an input; of an imported model only.
      max_answer_length: tokens of an answer that is pointed at in a context.
      null_threshold: by how much no answer must score higher to be given; infinity never gives it.
    """

    store: str | None = None
    max_examples: int | None = None
    batch_size: int | None = None
    task: str | None = None
    decoding: Mapping[str, Any] | None = None
    inputs_length: int | None = None
    max_answer_length: int | None = None
    null_threshold: float | None = None

    def answering(self, config: RunConfig) -> RunConfig:
        """Return ``config`` with the changes of its data; errors as of ``with_answers``."""
        said: dict[str, float | None] = {
            name: value
            for name in ("max_answer_length", "null_threshold")
            if (value := getattr(self, name)) is not None
        }
        if self.null_threshold == math.inf:
            said["null_threshold"] = None
        return dataclasses.replace(config, data=config.data.with_answers(**said)) if said else config

    def applied(self, config: EvaluationConfig) -> EvaluationConfig:
        """Return ``config`` with the changes; a batch of one has no other example to swap inputs with."""
        given = {
            name: getattr(self, name)
            for name in ("store", "max_examples", "batch_size", "task")
            if getattr(self, name) is not None
        }
        if self.batch_size == 1:
            given["encoder_use"] = False
        return evaluated_decoding.replaced(dataclasses.replace(config, **given), self.decoding)

    def about(self, evaluations: Mapping[str, EvaluationConfig]) -> list[str]:
        """Return what to say of evaluations that are changed (``evaluated_decoding.about``)."""
        tasks = {name: self.task or each.task for name, each in evaluations.items()}
        return evaluated_decoding.about(self.decoding, tasks)


def evaluate(
    run: str | Path,
    changes: EvaluationChanges | None = None,
    *,
    names: Collection[str] = (),
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    must_predict: bool = False,
    robust: bool = False,
    announce: Callable[[str], None] = lambda text: None,
) -> Iterator[Evaluation]:
    """Measure the checkpoint of a run, one evaluation after the other.

    ``evaluation_records.store_evaluation`` keeps a result. It runs on all the devices that are there,
    whatever mesh the run was trained on. An imported model is measured as ``imported.measuring_config`` says.

    Args:
      run: run directory.
      changes: to what its configuration says.
      names: of the run's evaluations; all of them by default.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters (``runner.averages``); None goes by the evaluation, and
        of the best by what was measured when it was chosen.
      weights: as of ``load_trained``.
      must_predict: whether every evaluation has to predict something: have a task, or be a classifier's.
      robust: whether to predict for changed inputs, too (``evaluation.perturbations``), which all must then.
      announce: is told when everything is checked and the long work begins.

    Yields:
      What each measured, as soon as it has.

    Raises:
      UserError: if the run, its checkpoint or a store cannot be used, before anything is computed.
    """
    found = Snapshot(RunDirectory.at(run))
    changes = changes or EvaluationChanges()
    config, about = _configuration(found, names, changes)
    config = changes.answering(config)
    if must_predict or robust:
        _check_predicts(config)
    if robust:
        _check_takes_texts(config)
    opened = open_heldout(config, found.vocabulary, found.classes)
    evaluations = {name: _measurable(each) for name, each in opened.items()}
    if robust:
        _check_several(evaluations)
    partitioner = make_partitioner(PartitioningConfig())
    for each in evaluations.values():
        check_batch_size(each.config.batch_size, 1, partitioner)
    averages: dict[str, Average | None] = {
        name: chosen_average(found, step, each.config.average if average is None else average)
        for name, each in evaluations.items()
    }
    params = _Params(found, partitioner, step, weights)
    model = params.of(next(iter(averages.values()))).model
    evaluators = heldout_evaluators(model, partitioner, evaluations, by_example=True)
    measuring = _Measuring(found, config, about, partitioner, robust)
    for name, heldout in evaluations.items():
        batch_size, label = clamped_batch_size(heldout, partitioner), f"{name}: " * (len(evaluations) > 1)
        announce(
            f"{label}{heldout.num_examples:,} examples in batches of {batch_size:,}; the first one compiles "
            "for a while"
        )
        average = averages[name]
        yield measuring.measured(heldout, evaluators[name], params.of(average), average)


class _Params:
    """The parameters that evaluations of a run take, one set at a time: two might not fit."""

    def __init__(
        self, found: Snapshot, partitioner: Partitioner, step: Step, weights: Weights | None
    ) -> None:
        self._found, self._partitioner = found, partitioner
        self._weights: Weights | None = weights
        self._step: Step = step
        self._average: Average | None = None
        self._trained: TrainedModel | None = None

    def of(self, average: Average | None) -> TrainedModel:
        """Return those of an average; errors as of ``load_trained``. Whoever keeps them keeps them there."""
        if self._trained is None or average != self._average:
            self._trained = None
            self._trained = load_trained(
                self._found, self._partitioner, step=self._step, average=average, weights=self._weights
            )
            self._step, self._average = self._trained.step, average
        return self._trained


@dataclass(frozen=True)
class _Measuring:
    """What is the same for all evaluations of a run: its files, what to measure and what to say of it."""

    found: Snapshot
    config: RunConfig
    about: Sequence[str]
    partitioner: Partitioner
    robust: bool

    def measured(
        self,
        heldout: Heldout,
        evaluator: Callable[[Tree], Measured],
        trained: TrainedModel,
        average: Average | None,
    ) -> Evaluation:
        """Return what an evaluation finds of a model."""
        config, params = self.config, trained.params
        found = evaluator(params)
        scores, of_text = self._likelihoods(heldout, found)
        metrics = found.means | {name: score.value for name, score in scores.items()}
        scorer = scorer_of(
            heldout,
            *(trained.model, trained.vocabulary, config),
            eos_ids=self.found.model.eos_ids,
            partitioner=self.partitioner,
        )
        predicted = None if scorer is None else scorer(params)
        others = _beside(metrics, trained, config, heldout, self.found, predicted)
        under_changes: Mapping[str, Robustness] = {}
        if self.robust and scorer is not None and predicted is not None:
            under_changes = scorer.robustness(params, predicted)
        return Evaluation(
            name=heldout.name,
            step=trained.step,
            store=absolute_location(heldout.config.store),
            num_examples=heldout.num_examples,
            metrics=metrics | others.metrics,
            scores={**scores, **others.scores},
            predictions=() if predicted is None else predicted.examples,
            robustness=under_changes,
            notes=(
                *self.about,
                *about_parameters(trained, average),
                *_notes(config, heldout, self.found),
                *of_text,
                *others.notes,
            ),
            settings=_settings(config, heldout)
            | parameter_settings(trained, average)
            | ({"robust": True} if self.robust else {}),
            contents=store_identity(heldout.config.store),
        )

    def _likelihoods(self, heldout: Heldout, measured: Measured) -> tuple[dict[str, Score], list[str]]:
        """Return the scores of what is measured by example, and what to say of the text that it is of."""
        model = self.config.model
        goes_on = self.config.evaluated_data(heldout.name).is_text
        text = scored_text(heldout, model, goes_on=goes_on)
        has_likelihood = model.outputs[0].has_likelihood
        scores = likelihood_scores(measured, heldout.num_examples, text, has_likelihood=has_likelihood)
        return scores, [] if text is None else [str(text)]


def _configuration(
    found: Snapshot, names: Collection[str], changes: EvaluationChanges
) -> tuple[RunConfig, list[str]]:
    """Return what to measure, and what to say of it."""
    directory, model = found.directory, found.model
    if found.has_config:
        config = found.config
        if changes.inputs_length is not None:
            raise ConfigError(
                f"inputs_length={changes.inputs_length} is for imported models; {directory.path} was trained "
                f"with data.inputs_length={config.prompted_data.inputs_length} and is measured with it"
            )
        chosen, about = _chosen(directory, config.evaluations, names, changes)
        # Which checkpoint is the best may be said by an evaluation that is not chosen.
        # And when the training ends.
        training = dataclasses.replace(config.training, early_stopping_patience=None)
        checkpoints = CheckpointConfig()
        return dataclasses.replace(
            config, evaluations=chosen, checkpoints=checkpoints, training=training
        ), about
    if names:
        raise ConfigError(f"{directory.path} was imported and has no evaluations; give a store by --store")
    if changes.store is None:
        raise ConfigError(f"{directory.path} was imported and names no held-out store; give one by --store")
    unchanged = EvaluationConfig(store=changes.store)
    about, evaluation = changes.about({UNNAMED_EVALUATION: unchanged}), changes.applied(unchanged)
    config, note = measuring_config(
        directory, model.narrowed, evaluation, inputs_length=changes.inputs_length
    )
    return dataclasses.replace(config, execution=model.execution), [note, *about]


def _check_predicts(config: RunConfig) -> None:
    for name, each in config.evaluations.items():
        if not each.task and (config.evaluated_data(name).is_text or not config.model.predicted_metrics):
            raise ConfigError(
                f"the evaluation {name} has no task, so that nothing is predicted in text; give one by "
                "--task, or choose others by --evaluations"
            )


def _check_takes_texts(config: RunConfig) -> None:
    if config.model.predicted_metrics and config.model.num_classes is None:
        raise ConfigError(
            f"robustness is of texts that are answered or classified; model.head={config.model.head!r} is "
            "measured without"
        )


def _check_several(evaluations: Mapping[str, Heldout]) -> None:
    for name, each in evaluations.items():
        if each.num_examples < 2:
            raise ConfigError(f"the evaluation {name} has one example, and robustness needs two at least")


def _chosen(
    directory: RunDirectory,
    evaluations: Mapping[str, EvaluationConfig],
    names: Collection[str],
    changes: EvaluationChanges,
) -> tuple[dict[str, EvaluationConfig], list[str]]:
    """Return the evaluations of a run that are to be made, with the changes, and what to say of these."""
    for name in names:
        known_name(name, evaluations, said_by="--evaluations")
    chosen = {name: each for name, each in evaluations.items() if name in names or not names}
    if not chosen and changes.store is None:
        raise ConfigError(f"{directory.path} has no held-out store in its configuration; give one by --store")
    if changes.store is not None and len(chosen) > 1:
        raise ConfigError(
            f"--store {changes.store} is one store, and {directory.path} has the evaluations "
            f"{', '.join(chosen)}; say which of them is to measure it by --evaluations"
        )
    if changes.store is not None and not chosen:
        chosen = {UNNAMED_EVALUATION: EvaluationConfig(store=changes.store)}
    return {name: changes.applied(each) for name, each in chosen.items()}, changes.about(chosen)


def about_parameters(trained: TrainedModel, average: Average | None) -> list[str]:
    """Return what to say of parameters that are not those of a checkpoint."""
    notes = [] if average is None else [f"the parameters are {trained.origin}"]
    return notes if trained.weights is None else [*notes, f"kernels of layers are {trained.weights}"]


def parameter_settings(trained: TrainedModel, average: Average | None) -> dict[str, Any]:
    """Return which parameters were measured, as it is recorded."""
    return {"average": average} | ({} if trained.weights is None else {"weights": trained.weights})


def _measurable(heldout: Heldout) -> Heldout:
    """Return an evaluation that does not swap inputs where nobody is there to swap them with."""
    if not heldout.is_alone:
        return heldout
    return dataclasses.replace(heldout, config=dataclasses.replace(heldout.config, encoder_use=False))


def _notes(config: RunConfig, heldout: Heldout, found: Snapshot) -> list[str]:
    """Return what to say of an evaluation's data."""
    notes = []
    if found.has_config and (remembered := trained_on(config, heldout.config.store)):
        notes.append(remembered)
    if heldout.is_alone and config.model.cross_attends:
        notes.append("encoder_use is left out: it swaps the inputs of two examples of a batch")
    report = heldout.pipeline.report
    if cut := report.get("truncated"):
        pairs = f"{cut:,.0f} of {report['pairs']:,.0f} pairs"
        notes.append(f"{pairs} are longer than the model was given room for and are cut")
    return notes + labels_unseen(report)


def _settings(config: RunConfig, heldout: Heldout) -> dict[str, Any]:
    """Return how an evaluation is made; when a training makes it does not change what it finds."""
    settings = dataclasses.asdict(heldout.config)
    del settings["every_steps"]
    if heldout.task is not None and heldout.task.decoding:
        settings["decoding"] = dict(heldout.task.decoding)
    return {"data": example_settings(config, heldout.name), **settings}


class _Beside(NamedTuple):
    """What stands beside the metrics of the loss."""

    metrics: dict[str, float]
    notes: Sequence[str]
    scores: Mapping[str, Score] = {}


def _beside(
    metrics: Mapping[str, float],
    trained: TrainedModel,
    config: RunConfig,
    heldout: Heldout,
    found: Snapshot,
    predicted: Scored | None,
) -> _Beside:
    """Return what the metrics are compared with, or the scores of what is predicted."""
    if config.evaluated_data(heldout.name).is_text:
        if not found.has_config:  # an imported model comes without the text it was trained on
            return _Beside({}, [])
        return _Beside(*baselines_if_possible(config, heldout, trained.vocabulary))
    if predicted is None:
        return _Beside({}, [])
    if (majority := majority_class(heldout)) is None:
        return _Beside(predicted.scores, predicted.notes, predicted.found)
    # The accuracy stays that of the loss, of which ties are misses, as in a training.
    others = {name: score for name, score in predicted.found.items() if name != "accuracy"}
    beside = _beside_accuracy(majority, metrics["accuracy"])
    beside |= {name: score.value for name, score in others.items()}
    return _Beside(beside, [str(majority)] * (majority.share == 1), others)


def _beside_accuracy(majority: MajorityClass, accuracy: float) -> dict[str, float]:
    """Return what the accuracy of a classifier is read against, as of the task "classification"."""
    return {
        "accuracy_error": math.sqrt(max(accuracy * (1 - accuracy), 0.0) / majority.num_examples),
        "majority_accuracy": majority.share,
    }

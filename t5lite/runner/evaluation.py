"""Measure a run on held-out data: losses, encoder use, n-gram baselines, and a task's own metrics."""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.storage.addresses import absolute_location
from t5lite.core.types import Tree
from t5lite.data.host_loader import device_batches, local_rows
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.config import EvaluationConfig, known_name
from t5lite.evaluation.evaluator import evaluate_loss
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.averages import Average
from t5lite.runner.checkpoint_choice import chosen_average
from t5lite.runner.heldout import Heldout, open_heldout
from t5lite.runner.heldout_messages import MajorityClass, majority_class, trained_on
from t5lite.runner.imported import measuring_config
from t5lite.runner.loading import TrainedModel, load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.task_scoring import Scored, TaskScorer
from t5lite.training.metrics_log import UNNAMED_EVALUATION
from t5lite.training.step import check_batch_size, compile_eval_step, make_eval_step, num_data_devices

_NGRAM_TOKENS = 20_000_000
"""Training tokens that the n-gram baselines count at most: enough for their tables, seconds of work."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation measured; losses in nats per target token."""

    name: str
    step: int
    store: str
    num_examples: int
    metrics: dict[str, float]
    predictions: Scored | None = None
    """For a task: what was written for each example."""
    notes: tuple[str, ...] = ()
    """What to know when reading the metrics, a line each."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How it was measured: with another of these, the metrics are others."""


@dataclass(frozen=True, kw_only=True)
class EvaluationChanges:
    """What to measure otherwise than the run's configuration says; None leaves it.

    Attributes:
      store: held-out store.
      max_examples: limit.
      batch_size: examples at once.
      task: how generated text is scored.
      inputs_length: tokens of an input; of an imported model only.
    """

    store: str | None = None
    max_examples: int | None = None
    batch_size: int | None = None
    task: str | None = None
    inputs_length: int | None = None

    def applied(self, config: EvaluationConfig) -> EvaluationConfig:
        """Return ``config`` with the changes; a batch of one has no other example to swap inputs with."""
        given = {
            name: getattr(self, name)
            for name in ("store", "max_examples", "batch_size", "task")
            if getattr(self, name) is not None
        }
        if self.batch_size == 1:
            given["encoder_use"] = False
        return dataclasses.replace(config, **given)


def heldout_evaluators(
    model: FunctionalModel,
    partitioner: Partitioner,
    evaluations: Mapping[str, Heldout],
    *,
    before_batch: Callable[[], None] = lambda: None,
) -> dict[str, Callable[[Tree], dict[str, float]]]:
    """Return the functions from parameters to held-out metrics, by the evaluations' names.

    They share a step, which compiles once for each shape of a batch. What ``before_batch`` raises ends an
    evaluation.
    """
    vocabularies = [heldout.pipeline.vocabulary for heldout in evaluations.values()]
    if not vocabularies:
        return {}
    vocabulary = vocabularies[0]  # that of the model
    eval_step = compile_eval_step(
        make_eval_step(
            model,
            sentinel_ids=vocabulary.sentinel_ids,
            eos_id=vocabulary.eos_id,
        ),
        model,
        partitioner,
    )

    def evaluate_params(heldout: Heldout, params: Tree) -> dict[str, float]:
        encoder_use = heldout.measures_encoder_use(model.config)
        with closing(_device_batches(heldout, partitioner, before_batch)) as batches:
            return evaluate_loss(eval_step, params, batches, measure_encoder_use=encoder_use)

    return {name: functools.partial(evaluate_params, heldout) for name, heldout in evaluations.items()}


def evaluate(
    run: str | Path,
    changes: EvaluationChanges | None = None,
    *,
    names: Collection[str] = (),
    step: Step = "newest",
    average: Average | None = None,
    must_predict: bool = False,
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
      must_predict: whether every evaluation has to have a task, whose predictions are wanted.
      announce: is told when everything is checked and the long work begins.

    Yields:
      What each measured, as soon as it has.

    Raises:
      UserError: if the run, its checkpoint or a store cannot be used, before anything is computed.
    """
    found = Snapshot(RunDirectory.at(run))
    config, about = _configuration(found, names, changes or EvaluationChanges())
    if must_predict:
        _check_predicts(config)
    opened = open_heldout(config, found.vocabulary, found.classes)
    evaluations = {name: _measurable(each) for name, each in opened.items()}
    partitioner = make_partitioner(PartitioningConfig())
    for each in evaluations.values():
        check_batch_size(each.config.batch_size, 1, partitioner)
    averages: dict[str, Average | None] = {
        name: chosen_average(found, step, each.config.average if average is None else average)
        for name, each in evaluations.items()
    }
    taken = next(iter(averages.values()))
    trained = load_trained(found, partitioner, step=step, average=taken)
    evaluators = heldout_evaluators(trained.model, partitioner, evaluations)
    for name, heldout in evaluations.items():
        if averages[name] != taken:
            taken = averages[name]
            trained = load_trained(found, partitioner, step=trained.step, average=taken)
        batch_size, label = clamped_batch_size(heldout, partitioner), f"{name}: " * (len(evaluations) > 1)
        announce(
            f"{label}{heldout.num_examples:,} examples in batches of {batch_size:,}; the first one compiles "
            "for a while"
        )
        metrics = evaluators[name](trained.params)
        others = _beside(metrics, trained, config, heldout, found)
        yield Evaluation(
            name=name,
            step=trained.step,
            store=absolute_location(heldout.config.store),
            num_examples=heldout.num_examples,
            metrics=metrics | others.metrics,
            predictions=others.predictions,
            notes=(*about, *_averaged(trained, taken), *_notes(config, heldout, found), *others.notes),
            settings={**_settings(config, heldout), "average": taken},
        )


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
        chosen = _chosen(directory, config.evaluations, names, changes)
        # Which checkpoint is the best may be said by an evaluation that is not chosen.
        # And when the training ends.
        training = dataclasses.replace(config.training, early_stopping_patience=None)
        checkpoints = CheckpointConfig()
        return dataclasses.replace(config, evaluations=chosen, checkpoints=checkpoints, training=training), []
    if names:
        raise ConfigError(f"{directory.path} was imported and has no evaluations; give a store by --store")
    if changes.store is None:
        raise ConfigError(f"{directory.path} was imported and names no held-out store; give one by --store")
    evaluation = changes.applied(EvaluationConfig(store=changes.store))
    config, note = measuring_config(directory, model.config, evaluation, inputs_length=changes.inputs_length)
    return dataclasses.replace(config, execution=model.execution), [note]


def _check_predicts(config: RunConfig) -> None:
    for name, each in config.evaluations.items():
        if not each.task:
            raise ConfigError(
                f"the evaluation {name} has no task, so that nothing is predicted in text; give one by "
                "--task, or choose others by --evaluations"
            )


def _chosen(
    directory: RunDirectory,
    evaluations: Mapping[str, EvaluationConfig],
    names: Collection[str],
    changes: EvaluationChanges,
) -> dict[str, EvaluationConfig]:
    """Return the evaluations of a run that are to be made, with the changes."""
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
    return {name: changes.applied(each) for name, each in chosen.items()}


def _averaged(trained: TrainedModel, average: Average | None) -> list[str]:
    """Return what to say of parameters that are not those of a checkpoint."""
    return [] if average is None else [f"the parameters are {trained.origin}"]


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
    return notes


def _settings(config: RunConfig, heldout: Heldout) -> dict[str, Any]:
    """Return how an evaluation is made; when a training makes it does not change what it finds."""
    settings = dataclasses.asdict(heldout.config)
    del settings["every_steps"]
    return {"data": dataclasses.asdict(config.evaluated_data(heldout.name)), **settings}


class _Beside(NamedTuple):
    """What stands beside the metrics of the loss."""

    metrics: dict[str, float]
    notes: list[str]
    predictions: Scored | None = None


def _beside(
    metrics: Mapping[str, float],
    trained: TrainedModel,
    config: RunConfig,
    heldout: Heldout,
    found: Snapshot,
) -> _Beside:
    """Return what the metrics are compared with, or the scores of generated text."""
    if config.evaluated_data(heldout.name).is_text:
        if not found.has_config:  # an imported model comes without the text it was trained on
            return _Beside({}, [])
        return _baselines_if_possible(config, heldout, trained.vocabulary)
    if (majority := majority_class(heldout)) is not None:
        beside = _beside_accuracy(majority, metrics["accuracy"])
        return _Beside(beside, [str(majority)] * (majority.share == 1))
    if not heldout.config.task:
        return _Beside({}, [])
    eos_ids = found.model.eos_ids
    scorer = TaskScorer(trained.model, trained.vocabulary, config, heldout.name, eos_ids=eos_ids)
    scored = scorer(trained.params)
    notes = []
    if scored.num_cut:
        notes.append(
            f"{scored.num_cut:,} of {heldout.num_examples:,} predictions stop at {scorer.max_decode_length} "
            "tokens, before their end"
        )
    return _Beside(scored.scores, notes, scored)


def ngram_baselines(train_store: str, heldout_store: str, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the cross-entropy of the held-out text under counts of the training text, nats per token.

    It is that of the whole held-out text, not only of the examples that an evaluation uses; of either
    store, the first 20 million tokens at most.

    Raises:
      DataError: if a store cannot be used or belongs to another vocabulary.
    """
    train = TokenStore.open(train_store, vocabulary.fingerprint)
    heldout = TokenStore.open(heldout_store, vocabulary.fingerprint)
    train_tokens = train.tokens(0, min(train.num_tokens, _NGRAM_TOKENS))
    heldout_tokens = heldout.tokens(0, min(heldout.num_tokens, _NGRAM_TOKENS))
    return {
        "unigram": unigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
        "bigram": bigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
    }


def _baselines_if_possible(config: RunConfig, heldout: Heldout, vocabulary: Vocabulary) -> _Beside:
    """Return the baselines and what to say of them; the training text may be gone after training."""
    train_store = config.evaluated_data(heldout.name).store
    try:
        baselines = ngram_baselines(train_store, heldout.config.store, vocabulary)
    except DataError as error:
        note = f"unigram and bigram are left out, for the training text cannot be read: {error}"
        return _Beside({}, [note])
    if config.model.fills_masks:
        # It sees both sides of a token, so a model that has only the token before is no match for it.
        unigram = {"unigram": baselines["unigram"]}
        return _Beside(unigram, ["unigram is of the whole held-out text; compare it with loss"])
    note = "unigram and bigram are of the whole held-out text; compare them with text_loss"
    return _Beside(baselines, [note])


def _beside_accuracy(majority: MajorityClass, accuracy: float) -> dict[str, float]:
    """Return what the accuracy of a classifier is read against, as of the task "classification"."""
    return {
        "accuracy_error": math.sqrt(max(accuracy * (1 - accuracy), 0.0) / majority.num_examples),
        "majority_accuracy": majority.share,
    }


def clamped_batch_size(heldout: Heldout, partitioner: Partitioner) -> int:
    """Return the configured batch size, or the least for all examples that the mesh divides."""
    devices = num_data_devices(partitioner)
    return min(heldout.config.batch_size, -(-heldout.num_examples // devices) * devices)


def _device_batches(
    heldout: Heldout, partitioner: Partitioner, before_batch: Callable[[], None]
) -> Generator[dict[str, jax.Array], None, None]:
    sharding = partitioner.batch_sharding
    batch_size = clamped_batch_size(heldout, partitioner)
    rows = local_rows(sharding, batch_size)
    host_batches = heldout.pipeline.eval_batches(batch_size, rows, max_examples=heldout.config.max_examples)
    with device_batches(host_batches, sharding=sharding) as batches:
        for batch in batches:
            before_batch()
            yield batch

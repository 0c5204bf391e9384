"""Measure a run on held-out data: losses, encoder use, n-gram baselines, and a task's own metrics."""

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import absolute_location
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import check_told_apart
from t5lite.data.host_loader import device_batches, local_rows
from t5lite.data.pipeline import PairsDataConfig, Pipeline, evaluation_indices
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.evaluator import evaluate_loss
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy
from t5lite.evaluation.tasks import TASKS
from t5lite.evaluation.text_generation import GenerationSizes, generate_outputs
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.runner.components import load_trained, measures_encoder_use, num_used, open_heldout
from t5lite.runner.heldout_messages import MajorityClass, majority_class, trained_on
from t5lite.runner.imported import measuring_config
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.step import check_batch_size, compile_eval_step, make_eval_step, num_data_devices

_NGRAM_TOKENS = 20_000_000
"""Training tokens that the n-gram baselines count at most: enough for their tables, seconds of work."""
_NUM_SAMPLES = 50


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` measured; losses in nats per target token."""

    step: int
    store: str
    num_examples: int
    metrics: dict[str, float]
    samples: tuple[dict[str, str], ...]
    """For a task: inputs, target and prediction of the first examples."""
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
    task: Literal["translation", "classification"] | None = None
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


def heldout_evaluator(
    model: FunctionalModel,
    partitioner: Partitioner,
    pipeline: Pipeline,
    config: EvaluationConfig,
    *,
    before_batch: Callable[[], None] = lambda: None,
) -> Callable[[Tree], dict[str, float]]:
    """Return the function from parameters to held-out metrics; it compiles at its first call only.

    What ``before_batch`` raises ends the evaluation.
    """
    vocabulary = pipeline.vocabulary
    eval_step = compile_eval_step(
        make_eval_step(
            model,
            sentinel_ids=vocabulary.sentinel_ids,
            eos_id=vocabulary.eos_id,
        ),
        model,
        partitioner,
    )

    encoder_use = measures_encoder_use(config, model.config)

    def evaluate_params(params: Tree) -> dict[str, float]:
        with closing(_device_batches(pipeline, partitioner, config, before_batch)) as batches:
            return evaluate_loss(eval_step, params, batches, measure_encoder_use=encoder_use)

    return evaluate_params


def evaluate(
    run: str | Path,
    changes: EvaluationChanges | None = None,
    *,
    step: Step = "newest",
    announce: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Measure the checkpoint of a run; ``evaluation_records.store_evaluation`` keeps the result.

    It runs on all the devices that are there, whatever mesh the run was trained on. An imported model is
    measured as ``imported.measuring_config`` says.

    Args:
      run: run directory.
      changes: to what its configuration says.
      step: checkpoint, or "best"; the newest by default.
      announce: is told when everything is checked and the long work begins.

    Raises:
      UserError: if the run, its checkpoint or the store cannot be used.
    """
    directory = RunDirectory.at(run)
    model_config, vocabulary = directory.read_model()
    config, notes = _configuration(directory, model_config, changes or EvaluationChanges())
    pipeline = open_heldout(config, vocabulary, directory.read_classes())
    num_examples = num_used(pipeline, config.evaluation)
    if config.evaluation.encoder_use and num_examples < 2:
        config = dataclasses.replace(
            config, evaluation=dataclasses.replace(config.evaluation, encoder_use=False)
        )
    alone = num_examples < 2 or config.evaluation.batch_size < 2
    if alone and model_config.cross_attends:
        notes.append("encoder_use is left out: it swaps the inputs of two examples of a batch")
    if cut := pipeline.report.get("truncated"):
        pairs = f"{cut:,.0f} of {pipeline.report['pairs']:,.0f} pairs"
        notes.append(f"{pairs} are longer than the model was given room for and are cut")
    partitioner = make_partitioner(PartitioningConfig())
    check_batch_size(config.evaluation.batch_size, 1, partitioner)
    trained = load_trained(directory, partitioner, step=step)
    batch_size = clamped_batch_size(pipeline, partitioner, config.evaluation)
    announce(f"{num_examples:,} examples in batches of {batch_size:,}; the first one compiles for a while")
    metrics = heldout_evaluator(trained.model, partitioner, pipeline, config.evaluation)(trained.params)
    samples: tuple[dict[str, str], ...] = ()
    if not isinstance(config.evaluated_data, PairsDataConfig) and directory.config_file.is_file():
        # An imported model comes without the text that it was trained on.
        baselines, note = _baselines_if_possible(config, vocabulary)
        metrics |= baselines
        notes.append(note)
    elif (majority := majority_class(pipeline, config.evaluation)) is not None:
        metrics |= _beside_accuracy(majority, metrics["accuracy"])
        notes += [str(majority)] * (majority.share == 1)
    elif config.evaluation.task:
        scored = _scored(trained.model, trained.params, vocabulary, config, eos_ids=directory.read_eos_ids())
        metrics |= scored.scores
        samples = scored.samples
        if scored.num_cut:
            notes.append(
                f"{scored.num_cut:,} of {num_examples:,} predictions stop at {scored.max_decode_length} "
                "tokens, before their end"
            )
    assert config.evaluation.store is not None
    return Evaluation(
        step=trained.report.step,
        store=absolute_location(config.evaluation.store),
        num_examples=num_examples,
        metrics=metrics,
        samples=samples,
        notes=tuple(notes),
        settings={
            "data": dataclasses.asdict(config.evaluated_data),
            **dataclasses.asdict(config.evaluation),
        },
    )


def _configuration(
    directory: RunDirectory, model: ModelConfig, changes: EvaluationChanges
) -> tuple[RunConfig, list[str]]:
    """Return what to measure, and what to say of it."""
    if directory.config_file.is_file():
        config = directory.read_config()
        if changes.inputs_length is not None:
            raise ConfigError(
                f"inputs_length={changes.inputs_length} is for imported models; {directory.path} was trained "
                f"with data.inputs_length={config.evaluated_data.inputs_length} and is measured with it"
            )
        config = dataclasses.replace(config, evaluation=changes.applied(config.evaluation))
        if config.evaluation.store is None:
            raise ConfigError(
                f"{directory.path} has no held-out store in its configuration; give one by --store"
            )
        return config, [note for note in [trained_on(config)] if note]
    evaluation = changes.applied(EvaluationConfig())
    if evaluation.store is None:
        raise ConfigError(f"{directory.path} was imported and names no held-out store; give one by --store")
    config, note = measuring_config(directory, model, evaluation, inputs_length=changes.inputs_length)
    return config, [note]


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


def _baselines_if_possible(config: RunConfig, vocabulary: Vocabulary) -> tuple[dict[str, float], str]:
    """Return the baselines and what to say of them; the training text may be gone after training."""
    assert config.evaluation.store is not None
    try:
        baselines = ngram_baselines(config.evaluated_data.store, config.evaluation.store, vocabulary)
    except DataError as error:
        return {}, f"unigram and bigram are left out, for the training text cannot be read: {error}"
    if config.model.fills_masks:
        # It sees both sides of a token, so a model that has only the token before is no match for it.
        unigram = {"unigram": baselines["unigram"]}
        return unigram, "unigram is of the whole held-out text; compare it with loss"
    return baselines, "unigram and bigram are of the whole held-out text; compare them with text_loss"


def _beside_accuracy(majority: MajorityClass, accuracy: float) -> dict[str, float]:
    """Return what the accuracy of a classifier is read against, as of the task "classification"."""
    return {
        "accuracy_error": math.sqrt(max(accuracy * (1 - accuracy), 0.0) / majority.num_examples),
        "majority_accuracy": majority.share,
    }


def clamped_batch_size(pipeline: Pipeline, partitioner: Partitioner, config: EvaluationConfig) -> int:
    """Return the configured batch size, or the least for all examples that the mesh divides."""
    devices = num_data_devices(partitioner)
    return min(config.batch_size, -(-num_used(pipeline, config) // devices) * devices)


def _device_batches(
    pipeline: Pipeline, partitioner: Partitioner, config: EvaluationConfig, before_batch: Callable[[], None]
) -> Generator[dict[str, jax.Array], None, None]:
    sharding = partitioner.batch_sharding
    batch_size = clamped_batch_size(pipeline, partitioner, config)
    rows = local_rows(sharding, batch_size)
    host_batches = pipeline.eval_batches(batch_size, rows, max_examples=config.max_examples)
    with device_batches(host_batches, sharding=sharding) as batches:
        for batch in batches:
            before_batch()
            yield batch


def task_scores(
    model: FunctionalModel, params: Tree, vocabulary: Vocabulary, config: RunConfig
) -> tuple[dict[str, float], tuple[dict[str, str], ...]]:
    """Generate for the held-out pairs and score the text.

    The model is given the stored ids of the inputs. Predictions are scored against the stored targets,
    uncut and decoded: the text as the vocabulary can spell it, normalised, with ⁇ for what it cannot. A
    score against the original text is lower where the vocabulary does not cover it.

    Args:
      model: what ``params`` belong to.
      params: nested dict of parameters, on devices.
      vocabulary: of the model.
      config: of a run on pairs with ``evaluation.store`` and ``evaluation.task``.

    Returns:
      The task's metrics by name, and inputs, target and prediction of the first examples.

    Raises:
      ConfigError: if the run has no pairs, no held-out store or no task.
      DataError: if the store cannot be used.
    """
    scored = _scored(model, params, vocabulary, config)
    return scored.scores, scored.samples


class _Scored(NamedTuple):
    scores: dict[str, float]
    samples: tuple[dict[str, str], ...]
    num_cut: int
    """Predictions that reached the greatest length."""
    max_decode_length: int


def _scored(
    model: FunctionalModel,
    params: Tree,
    vocabulary: Vocabulary,
    config: RunConfig,
    *,
    eos_ids: Sequence[int] = (),
) -> _Scored:
    data = config.evaluated_data
    if not isinstance(data, PairsDataConfig) or not config.evaluation.store or not config.evaluation.task:
        raise ConfigError(
            f"data is a {type(data).__name__}, evaluation.store={config.evaluation.store}, "
            f"evaluation.task={config.evaluation.task}; task scores need pairs, a held-out store and a task"
        )
    pairs = PairStore.open(config.evaluation.store, vocabulary.fingerprint)
    if config.evaluation.task == "classification":
        check_told_apart(pairs)
    indices = evaluation_indices(pairs.num_pairs, config.evaluation.max_examples).tolist()
    inputs = [pairs.inputs.document(i) for i in indices]
    given = [Prompt(ids, ends=True) for ids in inputs]
    targets = [vocabulary.decode(pairs.targets.document(i)) for i in indices]
    sizes = GenerationSizes(
        encoder_length=data.inputs_length,
        max_decode_length=data.targets_length,
        batch_size=min(config.evaluation.batch_size, len(given)),
    )
    outputs = list(generate_outputs(model, params, vocabulary, given, sizes, eos_ids=eos_ids))
    predictions = [output.text for output in outputs]
    task = lookup(TASKS, config.evaluation.task, kind="task")
    results = task.score(predictions, targets)
    scores = {name: score.value for name, score in results.items()}
    scores |= {f"{name}_error": score.error for name, score in results.items() if score.error is not None}
    shown = list(zip(inputs, targets, predictions, strict=True))[:_NUM_SAMPLES]
    samples = tuple(
        {"inputs": vocabulary.decode(ids), "target": target, "prediction": prediction}
        for ids, target, prediction in shown
    )
    return _Scored(scores, samples, sum(output.output_cut for output in outputs), data.targets_length)

"""Measure a run on held-out data: losses, encoder use, n-gram baselines, and a task's own metrics."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.files import write_json
from t5lite.core.registry import lookup
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import check_told_apart
from t5lite.data.host_loader import local_rows
from t5lite.data.pipeline import PairsDataConfig, Pipeline, evaluation_indices
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.evaluator import evaluate_loss
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy
from t5lite.evaluation.tasks import TASKS
from t5lite.evaluation.text_generation import generate_texts, prompts_of_pairs
from t5lite.models.functional import FunctionalModel, build
from t5lite.partitioning import Partitioner, fitting_partitioner
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.runner.components import heldout_pipeline, load_trained, measures_encoder_use
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.step import check_batch_size, compile_eval_step, make_eval_step

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


def heldout_evaluator(
    model: FunctionalModel, partitioner: Partitioner, pipeline: Pipeline, config: EvaluationConfig
) -> Callable[[Tree], dict[str, float]]:
    """Return the function from parameters to held-out metrics; it compiles at its first call only."""
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
        batches = _device_batches(pipeline, partitioner, config)
        return evaluate_loss(eval_step, params, batches, measure_encoder_use=encoder_use)

    return evaluate_params


def evaluate(
    run: str | Path,
    *,
    step: int | None = None,
    store: str | None = None,
    max_examples: int | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Measure the checkpoint of a run and write ``evaluation.json`` into the run directory.

    It runs on all the devices that are there, whatever mesh the run was trained on.

    Args:
      run: run directory with a configuration.
      step: checkpoint; the newest by default.
      store: held-out store instead of the configured one.
      max_examples: limit instead of the configured one.
      batch_size: instead of the configured one.

    Raises:
      UserError: if the run, its checkpoint or the store cannot be used.
    """
    directory = RunDirectory.at(run)
    config = _with_changes(
        directory.read_config(), store=store, max_examples=max_examples, batch_size=batch_size
    )
    if config.evaluation.store is None:
        raise ConfigError(f"{run} has no held-out store in its configuration; give one by --store")
    model_config, vocabulary = directory.read_model()
    pipeline = heldout_pipeline(config, vocabulary, directory.read_classes())
    assert pipeline is not None
    model = build(model_config)
    partitioner = fitting_partitioner(model.abstract_params, model.logical_axes)
    check_batch_size(config.evaluation.batch_size, 1, partitioner)
    trained = load_trained(directory, partitioner, step=step)
    metrics = heldout_evaluator(trained.model, partitioner, pipeline, config.evaluation)(trained.params)
    samples: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    if not isinstance(config.evaluated_data, PairsDataConfig):
        baselines, note = _baselines_if_possible(config, vocabulary)
        metrics |= baselines
        notes = (note,)
    elif pipeline.classes is not None:
        metrics |= _beside_accuracy(config.evaluation, metrics["accuracy"])
    elif config.evaluation.task:
        scores, samples = task_scores(trained.model, trained.params, vocabulary, config)
        metrics |= scores
    limit = config.evaluation.max_examples or pipeline.num_examples
    result = Evaluation(
        step=trained.report.step,
        store=config.evaluation.store,
        num_examples=min(limit, pipeline.num_examples),
        metrics=metrics,
        samples=samples,
        notes=notes,
    )
    write_json(directory.evaluation_file, dataclasses.asdict(result))
    return result


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
    if config.model.architecture == "encoder_only":
        # It sees both sides of a token, so a model that has only the token before is no match for it.
        unigram = {"unigram": baselines["unigram"]}
        return unigram, "unigram is of the whole held-out text; compare it with loss"
    return baselines, "unigram and bigram are of the whole held-out text; compare them with text_loss"


def _beside_accuracy(config: EvaluationConfig, accuracy: float) -> dict[str, float]:
    """Return what the accuracy of a classifier is read against, as of the task "classification"."""
    assert config.store is not None
    pairs = PairStore.open(config.store)
    indices = evaluation_indices(pairs.num_pairs, config.max_examples).tolist()
    counts = Counter(pairs.targets.document(i).tobytes() for i in indices)
    return {
        "accuracy_error": math.sqrt(max(accuracy * (1 - accuracy), 0.0) / len(indices)),
        "majority_accuracy": max(counts.values()) / len(indices),
    }


def _with_changes(
    config: RunConfig, *, store: str | None, max_examples: int | None, batch_size: int | None
) -> RunConfig:
    changes = {"store": store, "max_examples": max_examples, "batch_size": batch_size}
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, **given))


def _device_batches(
    pipeline: Pipeline, partitioner: Partitioner, config: EvaluationConfig
) -> Iterator[dict[str, jax.Array]]:
    sharding = partitioner.batch_sharding
    rows = local_rows(sharding, config.batch_size)
    for batch in pipeline.eval_batches(config.batch_size, rows, max_examples=config.max_examples):
        yield {name: jax.make_array_from_process_local_data(sharding, field) for name, field in batch.items()}


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
    given = inputs
    if config.model.architecture == "decoder_only":
        given = prompts_of_pairs(inputs, vocabulary, inputs_length=data.inputs_length)
    targets = [vocabulary.decode(pairs.targets.document(i)) for i in indices]
    predictions = generate_texts(
        model,
        params,
        vocabulary,
        given,
        encoder_length=data.inputs_length,
        max_decode_length=data.targets_length,
        batch_size=config.evaluation.batch_size,
    )
    task = lookup(TASKS, config.evaluation.task, kind="task")
    results = task.score(predictions, targets)
    scores = {name: score.value for name, score in results.items()}
    scores |= {f"{name}_error": score.error for name, score in results.items() if score.error is not None}
    shown = list(zip(inputs, targets, predictions, strict=True))[:_NUM_SAMPLES]
    return scores, tuple(
        {"inputs": vocabulary.decode(ids), "target": target, "prediction": prediction}
        for ids, target, prediction in shown
    )

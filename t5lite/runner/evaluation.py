"""Measure a run on held-out data: losses, encoder use, n-gram baselines, and a task's own metrics."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from t5lite.core.errors import ConfigError
from t5lite.core.files import write_json
from t5lite.core.registry import lookup
from t5lite.core.types import Tree
from t5lite.data.host_loader import local_rows
from t5lite.data.pair_store import PairStore
from t5lite.data.pipeline import PairsDataConfig, Pipeline, evaluation_indices
from t5lite.data.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.evaluator import evaluate_loss, generate_texts
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy
from t5lite.evaluation.tasks import TASKS
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner, make_partitioner
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.runner.components import TrainedModel, heldout_pipeline, load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.step import compile_eval_step, make_eval_step

_NGRAM_TOKENS = 20_000_000
"""Training tokens that the n-gram baselines count at most: enough for their tables, seconds of work."""


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` measured; losses in nats per target token."""

    step: int
    store: str
    num_examples: int
    metrics: dict[str, float]
    samples: tuple[dict[str, str], ...]
    """For a task: inputs, target and prediction of the first examples."""


def heldout_evaluator(
    model: FunctionalModel, partitioner: Partitioner, pipeline: Pipeline, config: EvaluationConfig
) -> Callable[[Tree], dict[str, float]]:
    """Return the function from parameters to held-out metrics; it compiles at its first call only."""
    vocabulary = pipeline.vocabulary
    eval_step = compile_eval_step(
        make_eval_step(
            model,
            lowest_sentinel_id=vocabulary.size - vocabulary.extra_ids,
            eos_id=vocabulary.eos_id,
        ),
        model,
        partitioner,
    )

    def evaluate_params(params: Tree) -> dict[str, float]:
        batches = _device_batches(pipeline, partitioner, config)
        return evaluate_loss(eval_step, params, batches, measure_encoder_use=config.encoder_use)

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
    _, vocabulary = directory.read_model()
    pipeline = heldout_pipeline(config, vocabulary)
    assert pipeline is not None
    partitioner = make_partitioner(config.partitioning)
    trained = load_trained(directory, partitioner, step=step)
    metrics = heldout_evaluator(trained.model, partitioner, pipeline, config.evaluation)(trained.params)
    samples: tuple[dict[str, str], ...] = ()
    if isinstance(config.data, PairsDataConfig):
        if config.evaluation.task:
            scores, samples = _task_scores(trained, config)
            metrics |= scores
    else:
        metrics |= ngram_baselines(config.data.store, config.evaluation.store, vocabulary)
    limit = config.evaluation.max_examples or pipeline.num_examples
    result = Evaluation(
        step=trained.report.step,
        store=config.evaluation.store,
        num_examples=min(limit, pipeline.num_examples),
        metrics=metrics,
        samples=samples,
    )
    write_json(directory.evaluation_file, dataclasses.asdict(result))
    return result


def ngram_baselines(train_store: str, heldout_store: str, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the cross-entropy of the held-out text under counts of the training text, nats per token."""
    train, heldout = TokenStore.open(train_store), TokenStore.open(heldout_store)
    train_tokens = train.tokens(0, min(train.num_tokens, _NGRAM_TOKENS))
    heldout_tokens = heldout.tokens(0, min(heldout.num_tokens, _NGRAM_TOKENS))
    return {
        "unigram": unigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
        "bigram": bigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
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


def _task_scores(
    trained: TrainedModel, config: RunConfig
) -> tuple[dict[str, float], tuple[dict[str, str], ...]]:
    """Generate for the held-out pairs and score the text; also return the first few."""
    assert isinstance(config.data, PairsDataConfig)
    assert config.evaluation.store is not None
    assert config.evaluation.task is not None
    pairs = PairStore.open(config.evaluation.store)
    indices = evaluation_indices(pairs.num_pairs, config.evaluation.max_examples).tolist()
    vocabulary = trained.vocabulary
    inputs = [vocabulary.decode(pairs.inputs.document(i)) for i in indices]
    targets = [vocabulary.decode(pairs.targets.document(i)) for i in indices]
    predictions = generate_texts(
        trained.model,
        trained.params,
        vocabulary,
        inputs,
        encoder_length=config.data.inputs_length,
        max_decode_length=config.data.targets_length,
        batch_size=config.evaluation.batch_size,
    )
    task = lookup(TASKS, config.evaluation.task, kind="task")
    scores = {name: score.value for name, score in task.score(predictions, targets).items()}
    samples = zip(inputs, targets, predictions, strict=True)
    shown = tuple({"inputs": i, "target": t, "prediction": p} for i, t, p in list(samples)[:_NUM_SAMPLES])
    return scores, shown


_NUM_SAMPLES = 50

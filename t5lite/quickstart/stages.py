"""What each stage of the quickstart does; every one returns a JSON-able record of what it found."""

import dataclasses
import signal
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.types import Tree
from t5lite.data.pipeline import evaluation_indices, open_pipeline
from t5lite.data.prepare import write_pair_store, write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary, train_vocabulary
from t5lite.decoding import greedy
from t5lite.evaluation.scoring import scores as metric_scores
from t5lite.partitioning import make_partitioner
from t5lite.quickstart import corpus
from t5lite.quickstart.corpus import Corpus, CorpusSplit, Pair
from t5lite.quickstart.recipes import EXTRA_IDS, Recipe
from t5lite.run_config import RunConfig
from t5lite.runner.baselines import ngram_baselines
from t5lite.runner.evaluation import evaluate
from t5lite.runner.interchange import export
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.task_scoring import TaskScorer
from t5lite.runner.training import train
from t5lite.tasks.opening import open_task
from t5lite.training.metrics_log import METRICS_FILE, read_metrics

NUM_SAMPLES = 4
_SHUFFLE_SEED = 0


class Interrupted(Exception):
    """A signal stopped a training stage; what was done is saved."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


def split_corpus() -> CorpusSplit:
    """Return the embedded text in its two parts."""
    return corpus.split(corpus.austen(), corpus.verses())


def vocabulary_stage(split: CorpusSplit, recipe: Recipe, directory: StoragePath) -> dict[str, Any]:
    """Train the SentencePiece vocabulary on the training part."""
    train_vocabulary(
        corpus.pretraining_texts(split.train), vocabulary_file(directory), size=recipe.vocabulary_size
    )
    size = SentencePieceVocabulary(vocabulary_file(directory), EXTRA_IDS).size
    return {"size": size, "note": f"{recipe.vocabulary_size:,} pieces and {EXTRA_IDS} sentinels"}


def stores_stage(split: CorpusSplit, recipe: Recipe, directory: StoragePath) -> dict[str, Any]:
    """Tokenise everything: the pretraining text, and the pairs of both tasks."""
    vocabulary = SentencePieceVocabulary(vocabulary_file(directory), EXTRA_IDS)
    data = directory / "data"
    counts = {}
    for name, part in (("train", split.train), ("heldout", split.heldout)):
        # disable=None: a bar on a terminal, nothing in a log.
        texts = tqdm(_mixed(corpus.pretraining_texts(part)), desc=name, unit="text", disable=None)
        counts[name] = write_text_store(texts, vocabulary, data / "pretrain" / name, overwrite=True)
        for task in recipe.tasks:
            pairs = task_pairs(task, part)
            write_pair_store(pairs, vocabulary, data / task / name, overwrite=True)
    for num_labels in recipe.label_counts:
        pairs = task_pairs("classification", split.train)[:num_labels]
        store = data / "classification" / f"train-{num_labels}-labels"
        write_pair_store(pairs, vocabulary, store, overwrite=True)
    train_counts, heldout_counts = counts["train"], counts["heldout"]
    return {
        "train": dataclasses.asdict(train_counts),
        "heldout": dataclasses.asdict(heldout_counts),
        "texts": [
            _text_counts(name, split, vocabulary) for name in ("Austen", "English verses", "Spanish verses")
        ],
        "ngrams": ngram_baselines(
            str(data / "pretrain" / "train"), str(data / "pretrain" / "heldout"), vocabulary
        ),
        "note": f"{train_counts.tokens:,} tokens to train on, {heldout_counts.tokens:,} held out",
    }


def training_stage(config: RunConfig) -> dict[str, Any]:
    """Train one run, resuming it if it was stopped, and measure it on held-out data."""
    outcome = train(config)
    if outcome.signal is not None:
        raise Interrupted(outcome.signal)
    vocabulary = RunDirectory.at(config.run_dir).read_model()[1]
    # Empty if the last step was evaluated by an earlier attempt.
    ((name, evaluation),) = config.evaluations.items()
    metrics = outcome.metrics.get(name) or next(evaluate(config.run_dir)).metrics
    record: dict[str, Any] = {}
    if evaluation.task:
        scored = TaskScorer(outcome.model, vocabulary, config, name)(outcome.params)
        metrics = metrics | scored.scores
        record = {
            "num_examples": len(scored.examples),
            "samples": list(scored.samples[:NUM_SAMPLES]),
        }
    entries = read_metrics(place(config.run_dir) / METRICS_FILE)
    return record | {
        "num_params": outcome.model.num_params,
        "steps": outcome.step,
        "train": _curve(entries, "train"),
        "heldout": [entry for entry in entries if entry["kind"] == "eval"],
        "metrics": metrics,
        "note": _training_note(metrics, entries),
    }


def pretraining_samples(config: RunConfig) -> list[dict[str, str]]:
    """Return held-out examples with what the pretrained model fills in."""
    ((name, evaluation),) = config.evaluations.items()
    heldout = config.evaluated_data(name).held_out(evaluation.store)
    pipeline = open_pipeline(heldout, seed=config.seed, shuffle=False)
    trained = load_trained(Snapshot(RunDirectory.at(config.run_dir)), make_partitioner(config.partitioning))
    examples = [pipeline.example(i) for i in range(NUM_SAMPLES)]

    def fill(params: Tree, tokens_BL: jax.Array) -> jax.Array:
        return greedy(trained.model.bind(params), tokens_BL, max_decode_length=pipeline.decoder_length + 8)

    tokens_BL = np.stack([example["encoder_input_tokens"] for example in examples])
    outputs_BL = jax.jit(fill)(trained.params, tokens_BL)
    decode = pipeline.vocabulary.decode
    return [
        {
            "inputs": decode(example["encoder_input_tokens"]),
            "target": decode(example["decoder_target_tokens"]),
            "output": decode(output),
        }
        for example, output in zip(examples, np.asarray(outputs_BL), strict=True)
    ]


def export_stage(config: RunConfig, directory: StoragePath) -> dict[str, Any]:
    """Write the fine-tuned model of ``config`` as a Hugging Face folder."""
    output = directory / "export"
    exported = export(config.run_dir, output, overwrite=True)
    return {"step": exported.step, "note": f"{output.name}/, {exported.export.num_bytes / 1e6:.1f} MB"}


def copy_baseline(task: str, part: Corpus, limit: int) -> dict[str, float]:
    """Return the scores of answering with the input itself, without its prefix."""
    every = task_pairs(task, part)
    pairs = [every[i] for i in evaluation_indices(len(every), limit)]
    copies = [pair.inputs.removeprefix(corpus.TRANSLATION_PREFIX) for pair in pairs]
    scores = metric_scores(open_task(task).metrics, copies, [pair.targets for pair in pairs])
    return {name: score.value for name, score in scores.of_all.items()}


def task_pairs(task: str, part: Corpus) -> list[Pair]:
    """Return the pairs of a task on one side of the split."""
    if task == "translation":
        return corpus.translation_pairs(part)
    return corpus.classification_pairs(part)


def vocabulary_file(directory: StoragePath) -> StoragePath:
    """Return where the vocabulary of a quickstart lies."""
    return directory / "data" / "vocabulary" / "spiece.model"


def _mixed(texts: list[str]) -> list[str]:
    """Return the documents in random order, so that a chunk holds more than one book and language.

    In the order of the books a decoder can guess language and subject from its own targets; mixed, it has
    to look them up in its encoder, and starts to do so earlier.
    """
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(texts))
    return [texts[i] for i in order]


def _text_counts(name: str, split: CorpusSplit, vocabulary: Vocabulary) -> dict[str, Any]:
    def texts(part: Corpus) -> list[str]:
        if name == "Austen":
            return [paragraph.text for paragraph in part.paragraphs]
        return [verse.english if name == "English verses" else verse.spanish for verse in part.verses]

    def tokens(texts: list[str]) -> int:
        return sum(len(ids) for ids in vocabulary.encode_batch(texts))

    train_texts, heldout_texts = texts(split.train), texts(split.heldout)
    return {
        "name": name,
        "train_documents": len(train_texts),
        "heldout_documents": len(heldout_texts),
        "train_tokens": tokens(train_texts),
        "heldout_tokens": tokens(heldout_texts),
    }


def _curve(entries: list[dict[str, Any]], kind: str) -> list[dict[str, float]]:
    return [{"step": e["step"], "value": e["loss"]} for e in entries if e["kind"] == kind]


def _training_note(metrics: dict[str, float], entries: list[dict[str, Any]]) -> str:
    parts = [f"held-out loss {metrics['loss']:.2f}"]
    if "encoder_use" in metrics:
        parts.append(f"encoder use {metrics['encoder_use']:.2f}")
    parts += [f"{name} {metrics[name]:.3g}" for name in ("accuracy", "bleu", "chrf") if name in metrics]
    speeds = [entry["step_seconds"] for entry in entries if entry["kind"] == "train"]
    if speeds:
        parts.append(f"{1000 * float(np.median(speeds)):.0f} ms a step")
    return ", ".join(parts)

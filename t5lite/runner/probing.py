"""Linear probes of a run's encoder: what its layers know of the labels of a file's texts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.storage.addresses import absolute_location
from t5lite.data.reading.rows import Lose, read_rows
from t5lite.data.reading.tally import Tally, messages
from t5lite.decoding import framed_row
from t5lite.evaluation.encoder_features import EncoderFeatures, check_has_encoder, num_encoder_layers
from t5lite.evaluation.linear_probe import probe
from t5lite.evaluation.metrics.corpus_metric import mean_sample, score_of
from t5lite.evaluation.metrics.score import Score
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.checkpoint_choice import chosen_average
from t5lite.runner.evaluation import PROBE, Evaluation, about_parameters, parameter_settings
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.text_frames import text_frame

_FIELDS = ("text", "label")
_HELDOUT_OF = 5
"""A fifth of the texts is held out."""
_FEWEST = 10
_MOST_LABELS = 1000
"""A probe has a row of weights for each, and a text or more to fit it to."""


@dataclass(frozen=True)
class _Columns:
    """Makes text and label of a row; a label may be a number."""

    columns: tuple[str, ...] = _FIELDS
    optional: frozenset[str] = frozenset()
    other_names: str = "rename them to text and label"

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[str]:
        del lose
        if not isinstance(row["text"], str):
            raise ValueError(f"text is {row['text']!r}, no text")
        return [str(row[name]).strip() for name in self.columns]


@dataclass(frozen=True)
class _Rows:
    """Labelled texts, and which are held out."""

    texts: list[str]
    names: list[str]
    labels_N: np.ndarray
    is_heldout_N: np.ndarray


def evaluate_probes(
    run: str | Path,
    file: str,
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    batch_size: int = 32,
    announce: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Return the accuracy of linear probes on each layer of an encoder (``evaluation.linear_probe``).

    Features are averages over the tokens of a text. A fifth of the texts is held out, by a hash of the text.

    Args:
      run: run directory, of a training or an import.
      file: rows with ``text`` and ``label``.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters; None as of ``evaluate``.
      weights: as of ``load_trained``.
      batch_size: texts at once.
      announce: is told when everything is checked and the long work begins.

    Raises:
      UserError: if the run or the file cannot be used.
    """
    found, tally = Snapshot(RunDirectory.at(run)), Tally()
    config, vocabulary = found.model.config, found.vocabulary
    _check_merges(found)
    check_has_encoder(config)
    frame = text_frame(config, vocabulary, is_imported=found.is_imported)
    rows = _read(file, tally)
    framed = [framed_row(vocabulary.encode(text), frame, config.max_length) for text in rows.texts]
    ids = [row.ids for row in framed]
    taken = chosen_average(found, step, average)
    partitioner = make_partitioner(PartitioningConfig())
    trained = load_trained(found, partitioner, step=step, average=taken, weights=weights)
    depth = num_encoder_layers(trained.model)
    heldout_N = rows.is_heldout_N
    train_labels, labels = rows.labels_N[~heldout_N], rows.labels_N[heldout_N]
    announce(f"{depth} layers, probes on {len(train_labels):,} texts and measured on {len(labels):,}")
    scores: dict[str, Score] = {}
    answers = labels
    for layer in range(1, depth + 1):
        features_ND = EncoderFeatures(trained.model, layer=layer, batch_size=batch_size)(trained.params, ids)
        probed = probe(features_ND[~heldout_N], train_labels, features_ND[heldout_N], labels)
        answers = probed.predictions_N
        scores[f"layer {layer}"] = score_of(mean_sample(answers == labels))
        scores[f"layer {layer} control"] = score_of(mean_sample(probed.control_N == probed.control_labels_N))
    majority = np.bincount(train_labels).argmax()
    scores = {
        "accuracy": scores[f"layer {depth}"],
        "majority_accuracy": score_of(mean_sample(labels == majority)),
        **scores,
    }
    notes = [
        f"linear probes, fitted to {len(train_labels):,} texts of {len(rows.names)} labels; accuracy is the "
        "last layer's, a control's is of shuffled labels"
    ]
    if cut := sum(row.cut for row in framed):
        notes.append(
            f"{cut:,} of {len(framed):,} texts are longer than {config.max_length} tokens and are cut"
        )
    numbers = np.flatnonzero(heldout_N).tolist()
    predictions = [
        {
            "example": number,
            "input": rows.texts[number],
            "reference": rows.names[label],
            "prediction": rows.names[answer],
        }
        for number, label, answer in zip(numbers, labels.tolist(), answers.tolist(), strict=True)
    ]
    return Evaluation(
        name=PROBE,
        step=trained.step,
        store=absolute_location(file),
        num_examples=len(labels),
        metrics={name: score.value for name, score in scores.items()},
        scores=scores,
        predictions=predictions,
        notes=(*about_parameters(trained, taken), *notes, *messages(tally.report())),
        settings=parameter_settings(trained, taken),
    )


def _check_merges(found: Snapshot) -> None:
    """Check that an adapter, if there is one, is of the layers, which are what is probed."""
    adaptation = found.model.adaptation
    if adaptation is not None and not adaptation.adapter.merges:
        raise ConfigError(
            f"{found.directory.path} holds {adaptation.adapter}, which no layer of the model has in it, and "
            f"layers are what is probed; probe {adaptation.base.run}, which it was trained beside"
        )


def _read(file: str, tally: Tally) -> _Rows:
    found = list(read_rows([file], _Columns(), tally=tally))
    texts, names = [text for _, text, _ in found], [label for _, _, label in found]
    is_heldout_N = np.array([_digest(text) % _HELDOUT_OF == 0 for text in texts], bool)
    counts = Counter(name for name, heldout in zip(names, is_heldout_N, strict=True) if not heldout)
    if len(counts) < 2 or not is_heldout_N.any() or len(found) < _FEWEST:
        labels = ", ".join(map(repr, list(counts)[:8])) or "none"
        raise DataError(
            f"{file} has {len(found):,} texts, to fit to with the labels {labels}, and "
            f"{is_heldout_N.sum():,} held out; give {_FEWEST} texts or more, of two labels or more"
        )
    _check_labels(file, Counter(names))
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return _Rows(texts, list(numbers), np.array([numbers[name] for name in names]), is_heldout_N)


def _check_labels(file: str, counts: Mapping[str, int]) -> None:
    """Check that labels are classes, of which there are few and each has texts.

    Raises:
      DataError: if there are too many, or most are of one text each.
    """
    once = sum(count == 1 for count in counts.values())
    if len(counts) > _MOST_LABELS or once > len(counts) / 2:
        raise DataError(
            f"{file} has {len(counts):,} labels, of which {once:,} occur once; a probe tells classes apart, "
            f"{_MOST_LABELS:,} at most and most of them of several texts: put numbers into ranges, or leave "
            "rare labels out"
        )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])

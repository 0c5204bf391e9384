"""Minimal pairs of a file: in how many of them a run finds the good sentence more probable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import absolute_location
from t5lite.data.reading.input_files import RECORD_FORMATS, find_input_files
from t5lite.data.reading.rows import Lose, read_rows
from t5lite.data.reading.tally import Tally, messages
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.metrics.corpus_metric import mean_sample, score_of
from t5lite.evaluation.metrics.score import Score
from t5lite.evaluation.minimal_pairs import MEASURES, sentence_scorer
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.checkpoint_choice import chosen_average
from t5lite.runner.evaluation import MINIMAL_PAIRS, Evaluation, about_parameters, parameter_settings
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

_GROUPS = ("field", "linguistics_term", "UID")
"""Columns of BLiMP that say what a pair is about, from coarse to fine."""
_SENTENCES = ("sentence_good", "sentence_bad")


@dataclass(frozen=True)
class _Columns:
    """Makes the two sentences of a row, and what they are about, as far as it is said."""

    columns: tuple[str, ...] = (*_SENTENCES, *_GROUPS)
    optional: frozenset[str] = frozenset(_GROUPS)
    other_names: str = "rename them to BLiMP's"

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[str]:
        del lose
        for name in _SENTENCES:
            if not isinstance(row[name], str):
                raise ValueError(f"{name} is {row[name]!r}, no text; give a sentence")
        return [str(row.get(name) or "") for name in self.columns]


def evaluate_minimal_pairs(
    run: str | Path,
    file: str,
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    batch_size: int = 32,
    announce: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Return in how many pairs the good sentence has the higher score (``evaluation.minimal_pairs``).

    Args:
      run: run directory, of a training or an import.
      file: rows with ``sentence_good`` and ``sentence_bad``, and maybe BLiMP's ``field``,
        ``linguistics_term`` and ``UID``, each of whose values has an accuracy of its own; or a folder or glob
        of such files, as BLiMP is published.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters; None as of ``evaluate``.
      weights: as of ``load_trained``.
      batch_size: sentences at once, or of a model that reads both sides tokens of them.
      announce: is told when everything is checked and the long work begins.

    Raises:
      UserError: if the run or the file cannot be used.
    """
    found, tally = Snapshot(RunDirectory.at(run)), Tally()
    inputs = find_input_files([file], allowed=RECORD_FORMATS)
    rows = [texts for _, *texts in read_rows(inputs.paths, _Columns(), tally=tally)]
    if not rows:
        raise DataError(f"{file} has no pair; give rows with {' and '.join(_SENTENCES)}")
    vocabulary, config = found.vocabulary, found.model.narrowed
    ids = [_encoded(vocabulary, text, file) for row in rows for text in row[:2]]
    config.check_length(2 + max(map(len, ids)))
    # Before anything is loaded, what has no likelihood is refused.
    sentence_scorer(build(config, found.model.execution), vocabulary, batch_size=batch_size)
    taken = chosen_average(found, step, average)
    partitioner = make_partitioner(PartitioningConfig())
    trained = load_trained(found, partitioner, step=step, average=taken, weights=weights)
    announce(f"{len(rows):,} pairs of sentences; the first ones compile for a while")
    scorer = sentence_scorer(trained.model, vocabulary, batch_size=batch_size)
    scores_N2 = np.reshape(scorer(trained.params, ids), (-1, 2))
    hits_N = scores_N2[:, 0] > scores_N2[:, 1]
    ties = scores_N2[:, 0] == scores_N2[:, 1]
    same = [np.array_equal(good, bad) for good, bad in zip(ids[::2], ids[1::2], strict=True)]
    notes = [f"a sentence's score is its {MEASURES[config.architecture]}"]
    if ties.any():
        notes.append(
            f"{ties.sum():,} of {len(rows):,} pairs are ties and count as misses; of {sum(same):,} both "
            "sentences are the same tokens"
        )
    accuracies = _accuracies(rows, hits_N)
    return Evaluation(
        name=MINIMAL_PAIRS,
        step=trained.step,
        store=absolute_location(file),
        num_examples=len(rows),
        metrics={name: score.value for name, score in accuracies.items()},
        scores=accuracies,
        predictions=[_record(*each) for each in zip(range(len(rows)), rows, scores_N2.tolist(), strict=True)],
        notes=(*about_parameters(trained, taken), *notes, *messages(tally.report(), inputs.skipped)),
        settings=parameter_settings(trained, taken),
    )


def _encoded(vocabulary: Vocabulary, text: str, file: str) -> np.ndarray:
    ids = vocabulary.encode(text)
    if not len(ids):
        raise DataError(f"{file}: the sentence {text!r} has no token of this vocabulary; leave its pair out")
    return ids


def _accuracies(rows: Sequence[Sequence[str]], hits_N: np.ndarray) -> dict[str, Score]:
    """Return the accuracy of all pairs, and of those of each field, term and phenomenon."""
    found = {"accuracy": score_of(mean_sample(hits_N))}
    for place, column in enumerate(_GROUPS, start=len(_SENTENCES)):
        values = np.array([row[place] for row in rows])
        for value in sorted(set(values.tolist()) - {""}):
            found[f"{column}: {value}"] = score_of(mean_sample(hits_N[values == value]))
    return found


def _record(number: int, row: Sequence[str], scores: Sequence[float]) -> dict[str, Any]:
    """Return what is kept of a pair: a prediction is the sentence of the higher score, none of a tie."""
    good, bad, *_ = row
    preferred = "" if scores[0] == scores[1] else good if scores[0] > scores[1] else bad
    return {
        "example": number,
        "input": f"{good}\n{bad}",
        "reference": good,
        "prediction": preferred,
        "log_likelihoods": list(scores),
        **{name: value for name, value in zip(_GROUPS, row[2:], strict=True) if value},
    }

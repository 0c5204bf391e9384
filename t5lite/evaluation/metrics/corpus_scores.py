"""Scores of whole corpora of text by sacrebleu: BLEU and chrF."""

import math
from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from t5lite.evaluation.metrics.score import Score, check_sides

_JACKKNIFE_GROUPS = 10


def bleu(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return corpus BLEU by sacrebleu's defaults (13a tokens, exponential smoothing), one reference each.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    check_sides(predictions, references)
    return _corpus_score(BLEU(), predictions, references)


def chrf(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return corpus chrF2 (character 6-grams, beta 2) by sacrebleu, one reference each.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    check_sides(predictions, references)
    return _corpus_score(CHRF(), predictions, references)


def _corpus_score(metric: BLEU | CHRF, predictions: Sequence[str], references: Sequence[str]) -> Score:
    value = metric.corpus_score(list(predictions), [list(references)]).score
    error = _jackknife_error(metric, predictions, references)
    return Score(value=value, signature=str(metric.get_signature()), error=error)


def _jackknife_error(
    metric: BLEU | CHRF, predictions: Sequence[str], references: Sequence[str]
) -> float | None:
    """Return the delete-a-group jackknife error of a corpus score, None for a single example.

    Not sacrebleu's bootstrap, whose chrF fails under NumPy 2 (a float32 reaches ``statistics``).
    """
    groups = min(_JACKKNIFE_GROUPS, len(predictions))
    if groups < 2:
        return None
    scores = []
    for group in range(groups):
        kept = [i for i in range(len(predictions)) if i % groups != group]
        score = metric.corpus_score([predictions[i] for i in kept], [[references[i] for i in kept]])
        scores.append(score.score)
    mean = sum(scores) / groups
    return math.sqrt((groups - 1) / groups * sum((score - mean) ** 2 for score in scores))

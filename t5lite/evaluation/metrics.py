"""Scores of generated texts against references: BLEU, chrF, accuracy, and the majority baseline."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from t5lite.core.errors import DataError

_JACKKNIFE_GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value and how it was computed.

    Attributes:
      value: BLEU and chrF in 0..100, accuracies in 0..1.
      signature: sacrebleu's signature (tokenisation, smoothing, version), empty for accuracies; two
        values are comparable only under the same signature.
      error: standard error over the choice of examples, in the unit of ``value``: binomial for accuracies,
        by a jackknife for BLEU and chrF; None where there is none to give.
    """

    value: float
    signature: str = ""
    error: float | None = None


def bleu(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return corpus BLEU by sacrebleu's defaults (13a tokens, exponential smoothing), one reference each.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    _check(predictions, references)
    return _corpus_score(BLEU(), predictions, references)


def chrf(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return corpus chrF2 (character 6-grams, beta 2) by sacrebleu, one reference each.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    _check(predictions, references)
    return _corpus_score(CHRF(), predictions, references)


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the fraction of predictions equal to their reference, but for surrounding white space.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    _check(predictions, references)
    hits = sum(p.strip() == r.strip() for p, r in zip(predictions, references, strict=True))
    value = hits / len(references)
    return Score(value=value, error=math.sqrt(value * (1 - value) / len(references)))


def majority_accuracy(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the accuracy of always answering the commonest reference: what ``accuracy`` must beat.

    ``predictions`` is only checked for its length, so that every metric has the same signature.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    _check(predictions, references)
    ((_, count),) = Counter(r.strip() for r in references).most_common(1)
    return Score(value=count / len(references))


def label_fraction(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the fraction of predictions that are one of the references' labels at all.

    Far below 1, a low accuracy is a matter of form (the model does not answer with a label), not of
    telling the classes apart.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    _check(predictions, references)
    labels = {r.strip() for r in references}
    return Score(value=sum(p.strip() in labels for p in predictions) / len(references))


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


def _check(predictions: Sequence[str], references: Sequence[str]) -> None:
    if not references or len(predictions) != len(references):
        raise DataError(
            f"cannot score {len(predictions)} predictions against {len(references)} references; "
            "give one prediction per reference, and at least one"
        )

"""How many texts are the reference itself, and what that is read against."""

import math
from collections import Counter
from collections.abc import Sequence

from t5lite.evaluation.metrics.score import Score, check_sides


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the fraction of predictions equal to their reference, but for surrounding white space.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    check_sides(predictions, references)
    hits = sum(p.strip() == r.strip() for p, r in zip(predictions, references, strict=True))
    value = hits / len(references)
    return Score(value=value, error=math.sqrt(value * (1 - value) / len(references)))


def majority_accuracy(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the accuracy of always answering the commonest reference: what ``accuracy`` must beat.

    ``predictions`` is only checked for its length, so that every metric has the same signature.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    check_sides(predictions, references)
    ((_, count),) = Counter(r.strip() for r in references).most_common(1)
    return Score(value=count / len(references))


def label_fraction(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Return the fraction of predictions that are one of the references' labels at all.

    Far below 1, a low accuracy is a matter of form (the model does not answer with a label), not of
    telling the classes apart.

    Raises:
      DataError: if there is nothing to score or the lengths differ.
    """
    check_sides(predictions, references)
    labels = {r.strip() for r in references}
    return Score(value=sum(p.strip() in labels for p in predictions) / len(references))

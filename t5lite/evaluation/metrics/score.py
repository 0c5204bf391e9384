"""What a metric is, and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from t5lite.core.errors import DataError


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


Metric = Callable[[Sequence[str], Sequence[str]], Score]
"""From predictions and as many references to a score over all of them; higher is better."""


def check_sides(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Check that there is something to score.

    Raises:
      DataError: if there is nothing, or the lengths differ.
    """
    if not references or len(predictions) != len(references):
        raise DataError(
            f"cannot score {len(predictions)} predictions against {len(references)} references; "
            "give one prediction per reference, and at least one"
        )

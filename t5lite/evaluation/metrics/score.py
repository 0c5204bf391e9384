"""What a metric says, and what it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from t5lite.core.errors import DataError

References: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""A reference for each prediction, or several of which the best counts."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where the value of a metric would lie on other examples of the same kind.

    Attributes:
      low: lower end, a percentile of the bootstrap.
      high: upper end.
      level: probability between the ends.
      num_resamples: of the examples, with replacement.
    """

    low: float
    high: float
    level: float = 0.95
    num_resamples: int = 1000


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value and how it was computed.

    Attributes:
      value: BLEU, chrF, ROUGE and the SQuAD scores in 0..100, correlations in -1..1, the others in 0..1.
      signature: what two values must share to be comparable (sacrebleu's for BLEU and chrF: tokenisation,
        smoothing, version), and what was replaced; empty where there is nothing to choose.
      error: standard error over the choice of examples, in the unit of ``value``; None of a single example.
      interval: bootstrap interval over the choice of examples; None of a single example, and where it has no
        finite ends.
    """

    value: float
    signature: str = ""
    error: float | None = None
    interval: Interval | None = None


Metric: TypeAlias = Callable[[Sequence[str], References], Score]
"""From predictions and as many references to a score over all of them; higher is better."""


def check_sides(predictions: Sequence[object], references: Sequence[object]) -> None:
    """Check that there is something to score, and one prediction for each example.

    Raises:
      DataError: if not.
    """
    if not references or len(predictions) != len(references):
        raise DataError(
            f"cannot score {len(predictions)} predictions against {len(references)} references; "
            "give one prediction per reference, and at least one"
        )


def as_several(references: References) -> list[tuple[str, ...]]:
    """Return the references of each example, where there may be one or several.

    Raises:
      DataError: for an example that has none.
    """
    several = [(each,) if isinstance(each, str) else tuple(each) for each in references]
    for number, each in enumerate(several):
        if not each:
            raise DataError(f"example {number} has no reference; give it one, or leave the example out")
    return several


def as_single(references: References, *, metric: str) -> list[str]:
    """Return the reference of each example.

    Raises:
      DataError: for an example that has several, which ``metric`` does not take.
    """
    several = as_several(references)
    for number, each in enumerate(several):
        if len(each) > 1:
            raise DataError(f"{metric} takes one reference an example; example {number} has {len(each)}")
    return [each[0] for each in several]

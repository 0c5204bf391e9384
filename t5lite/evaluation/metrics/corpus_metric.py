"""The law that corpus metrics obey: each example leaves statistics, and any choice of examples has a value.

A corpus score is no mean of examples' scores, but nearly always a function of *sums* over examples: of n-gram
counts, hits, squares. So the texts are looked at once, and a bootstrap of a thousand resamples is one product
of matrices.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from t5lite.evaluation.metrics.bootstrap import estimated
from t5lite.evaluation.metrics.score import References, Score, check_sides

OfSums = Callable[[np.ndarray], np.ndarray]
"""From sums ``[..., S]`` of statistics to values ``[...]``."""


class Sample(Protocol):
    """What a metric keeps of the examples of a corpus."""

    @property
    def num_examples(self) -> int:
        """How many there are."""
        ...

    def values(self, counts_BN: np.ndarray) -> np.ndarray:
        """Return the metric of each of B choices, float64 [B].

        Args:
          counts_BN: how often each example is in each choice; no choice is empty.
        """
        ...

    def of_each(self) -> np.ndarray | None:
        """Return the metric of each example alone, float64 [N]; None where one alone has none."""
        ...


@dataclass(frozen=True)
class SummedSample:
    """Of a metric that is a function of sums over examples.

    Attributes:
      statistics_NS: float64, those of each example.
      of_sums: from their sums to values.
      of_one: whether an example alone has a value that says something.
    """

    statistics_NS: np.ndarray
    of_sums: OfSums
    of_one: bool = True

    @property
    def num_examples(self) -> int:
        """How many there are."""
        return len(self.statistics_NS)

    def values(self, counts_BN: np.ndarray) -> np.ndarray:
        """Return the metric of each choice of examples."""
        return self.of_sums(counts_BN @ self.statistics_NS)

    def of_each(self) -> np.ndarray | None:
        """Return the metric of each example alone."""
        return self.of_sums(self.statistics_NS) if self.of_one else None


def mean_sample(values_N: Sequence[float] | np.ndarray, *, scale: float = 1.0) -> SummedSample:
    """Return the sample of a metric that is the mean of examples' scores, times ``scale``."""
    statistics_NS = np.stack([np.asarray(values_N, np.float64), np.ones(len(values_N))], axis=1)
    return SummedSample(statistics_NS, lambda sums: scale * sums[..., 0] / sums[..., 1])


def score_of(sample: Sample, signature: str = "") -> Score:
    """Return the score of all examples of a sample, with its error and interval."""
    value, error, interval = estimated(sample)
    return Score(value=value, signature=signature, error=error, interval=interval)


class CorpusMetric(ABC):
    """A metric of texts against references; called, it gives the score of a corpus with its interval."""

    takes_several: ClassVar[bool] = True
    """Whether an example may have several references, of which the best counts."""

    def __call__(self, predictions: Sequence[str], references: References) -> Score:
        """Return the score of all examples.

        Raises:
          DataError: if there is nothing to score, the lengths differ, or a reference is none of this metric.
        """
        return score_of(*self.measured(predictions, references))

    def measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        """Return what is kept of the examples, for bootstraps and comparisons, and the signature."""
        check_sides(predictions, references)
        return self._measured(predictions, references)

    @abstractmethod
    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        """Return the same of examples that were checked: as many predictions as references, one at least."""

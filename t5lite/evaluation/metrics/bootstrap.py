"""Bootstrap: how much a metric depends on the examples that happened to be held out.

Every metric of as many examples sees the same resamples (their seed is fixed), so that two models measured on
the same examples are compared under the same luck: the paired bootstrap (Koehn, 2004).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t5lite.core.errors import DataError
from t5lite.evaluation.metrics.score import Interval

if TYPE_CHECKING:
    from t5lite.evaluation.metrics.corpus_metric import Sample

_NUM_RESAMPLES = 1000
_SEED = 20201
_LEVEL = 0.95
_CHUNK_ELEMENTS = 1 << 22
"""Counts at once, 32 MiB."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better one model is than another on the same examples.

    Attributes:
      value: of the first less that of the second, on all examples.
      interval: of the difference, under resamples of the examples.
    """

    value: float
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval.low > 0 or self.interval.high < 0


def estimated(sample: "Sample") -> tuple[float, float | None, Interval | None]:
    """Return the value of all examples, its standard error and its interval.

    There is no error of a single example, nor where a resample has no finite value.
    """
    value = _value(sample)
    if sample.num_examples < 2:
        return value, None, None
    values = _bootstrapped(sample)
    if not np.isfinite(values).all():
        return value, None, None
    return value, float(values.std(ddof=1)), _interval(values)


def difference(first: "Sample", second: "Sample") -> Difference:
    """Return how much ``first`` is above ``second``, by the paired bootstrap.

    Raises:
      DataError: if they are not of the same examples, or of one.
    """
    if first.num_examples != second.num_examples or first.num_examples < 2:
        raise DataError(
            f"cannot pair {first.num_examples} examples with {second.num_examples}; measure both on the "
            "same, two at least"
        )
    differences = _bootstrapped(first) - _bootstrapped(second)
    return Difference(value=_value(first) - _value(second), interval=_interval(differences))


def _value(sample: "Sample") -> float:
    return float(sample.values(np.ones((1, sample.num_examples)))[0])


def _bootstrapped(sample: "Sample") -> np.ndarray:
    return np.concatenate([sample.values(counts) for counts in _resamples(sample.num_examples)])


def _interval(values: np.ndarray) -> Interval:
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(low=float(low), high=float(high), level=_LEVEL, num_resamples=len(values))


def _resamples(num_examples: int) -> Iterator[np.ndarray]:
    """Yield how often each example is drawn, float64 [b, N] in chunks, the same whenever it is called."""
    generator = np.random.default_rng([_SEED, num_examples])
    rows = max(1, _CHUNK_ELEMENTS // num_examples)
    for start in range(0, _NUM_RESAMPLES, rows):
        num_rows = min(rows, _NUM_RESAMPLES - start)
        drawn = generator.integers(num_examples, size=(num_rows, num_examples))
        drawn += num_examples * np.arange(num_rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=num_rows * num_examples)
        yield counts.reshape(num_rows, num_examples).astype(np.float64)

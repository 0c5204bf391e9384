"""Correlations of numbers that are written as text, such as the similarity of two sentences."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.errors import DataError
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, SummedSample
from t5lite.evaluation.metrics.score import References, as_single

_NO_NUMBER = -1.0
"""What a prediction counts as that is no finite number, as in T5's ``string_to_float``."""
_LEAST_VARIANCE = 1e-24
"""Of numbers that were brought to at most 1; below it there is nothing but rounding."""
_ROUNDING = 64 * np.finfo(np.float64).eps
"""Of a mean square: the variance of a choice of equal numbers is found as less of it than this, not as 0."""


class Correlation(CorpusMetric):
    """A correlation of predicted with wanted numbers; 0 where one side is constant: nothing is told apart."""

    takes_several: ClassVar[bool] = False

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        wanted_N = np.array([_number(text) for text in as_single(references, metric=type(self).__name__)])
        if (bad := np.flatnonzero(np.isnan(wanted_N))).size:
            raise DataError(
                f"the reference of example {bad[0]} is no finite number, and {bad.size - 1} others are none; "
                "a correlation is of numbers"
            )
        predicted_N = np.array([_number(text) for text in predictions])
        replaced = int(np.isnan(predicted_N).sum())
        predicted_N = np.nan_to_num(predicted_N, nan=_NO_NUMBER)
        signature = f"no-number:{replaced} as {_NO_NUMBER:g}" if replaced else ""
        return self._of_numbers(predicted_N, wanted_N), signature

    @abstractmethod
    def _of_numbers(self, predicted_N: np.ndarray, wanted_N: np.ndarray) -> Sample:
        """Return what is kept of the examples."""


class Pearson(Correlation):
    """Pearson's correlation."""

    def _of_numbers(self, predicted_N: np.ndarray, wanted_N: np.ndarray) -> Sample:
        x_N, y_N = _centred(predicted_N), _centred(wanted_N)
        statistics_NS = np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
        return SummedSample(statistics_NS, _of_moments, of_one=False)


class Spearman(Correlation):
    """Spearman's correlation: Pearson's of ranks, equal numbers sharing the mean of theirs."""

    def _of_numbers(self, predicted_N: np.ndarray, wanted_N: np.ndarray) -> Sample:
        return _RankSample(predicted_N, wanted_N)


@dataclass(frozen=True)
class _RankSample:
    """Ranks depend on who else is there, so they are made anew in each choice of examples."""

    predicted_N: np.ndarray
    wanted_N: np.ndarray

    @property
    def num_examples(self) -> int:
        return len(self.wanted_N)

    def values(self, counts_BN: np.ndarray) -> np.ndarray:
        # Ranks of n examples have the mean (n + 1) / 2 whatever the ties.
        middle_B1 = (counts_BN.sum(axis=1, keepdims=True) + 1) / 2
        x_BN = _ranks(self.predicted_N, counts_BN) - middle_B1
        y_BN = _ranks(self.wanted_N, counts_BN) - middle_B1
        xx, yy, xy = ((counts_BN * product).sum(axis=1) for product in (x_BN**2, y_BN**2, x_BN * y_BN))
        return _ratio(xy, xx, yy)

    def of_each(self) -> None:
        """One number alone is correlated with nothing."""


def _ranks(values_N: np.ndarray, counts_BN: np.ndarray) -> np.ndarray:
    """Return the mean rank, from 1, of each example among a choice in which it is there so often."""
    _, group_N, sizes_G = np.unique(values_N, return_inverse=True, return_counts=True)
    starts_G = np.concatenate([[0], np.cumsum(sizes_G)[:-1]])
    sums_BG = np.add.reduceat(counts_BN[:, np.argsort(group_N, kind="stable")], starts_G, axis=1)
    before_BG = np.cumsum(sums_BG, axis=1) - sums_BG
    return (before_BG + (sums_BG + 1) / 2)[:, group_N]


def _of_moments(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return _ratio(xy / n - x * y / n**2, _variance(xx / n, x / n), _variance(yy / n, y / n))


def _variance(mean_square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    found = mean_square - mean**2
    return np.where(found > np.maximum(_LEAST_VARIANCE, _ROUNDING * mean_square), found, 0.0)


def _ratio(covariance: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    is_known = (x > 0) & (y > 0)
    scale = np.sqrt(np.where(is_known, x, 1)) * np.sqrt(np.where(is_known, y, 1))
    return np.where(is_known, np.clip(covariance / scale, -1, 1), 0.0)


def _centred(values_N: np.ndarray) -> np.ndarray:
    """Return values around their mean, at most 1 away from it: sums of their squares lose no digits."""
    scale = np.abs(values_N).max()
    if scale == 0 or (values_N == values_N[0]).all():
        return np.zeros_like(values_N)
    scaled_N = values_N / scale
    centred_N = scaled_N - scaled_N.mean()
    return centred_N / np.abs(centred_N).max()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


pearson = Pearson()
spearman = Spearman()

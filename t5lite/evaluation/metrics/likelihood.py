"""What follows from the likelihood of held-out text: loss, perplexity, bits per byte, token accuracy.

Each is a ratio of sums over examples: of nats to tokens, of bits to bytes. Bits per byte compares models
whatever their vocabularies: a token of one may be three of another, and a byte is a byte.
"""

import math
from collections.abc import Sequence

import numpy as np

from t5lite.core.errors import DataError
from t5lite.evaluation.metrics.corpus_metric import OfSums, SummedSample, score_of
from t5lite.evaluation.metrics.score import Score, check_sides

Numbers = Sequence[float] | np.ndarray


def mean_per_unit(totals_N: Numbers, units_N: Numbers, *, unit: str = "token") -> Score:
    """Return the sum of totals by that of units: a loss (nats by tokens), a token accuracy (hits by tokens).

    Args:
      totals_N: of each example.
      units_N: how many tokens (bytes, …) each is a total over; an example may have none.
      unit: what they are, for messages.

    Raises:
      DataError: if there is nothing to measure, or the lengths differ.
    """
    return _ratio(totals_N, units_N, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1), unit)


def perplexity(nats_N: Numbers, tokens_N: Numbers) -> Score:
    """Return the exponential of the mean loss a token; infinite where a float cannot hold it.

    Args:
      nats_N: summed loss of each example.
      tokens_N: tokens of each.

    Raises:
      DataError: if there is no token, or the lengths differ.
    """

    def of_sums(sums: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.exp(sums[..., 0] / np.maximum(sums[..., 1], 1))

    return _ratio(nats_N, tokens_N, of_sums, "token")


def bits_per_byte(nats_N: Numbers, bytes_N: Numbers) -> Score:
    """Return the loss in bits by the UTF-8 bytes of the text that it is a loss of.

    Args:
      nats_N: summed loss of the text's tokens, of each example.
      bytes_N: of the text that these tokens stand for.

    Raises:
      DataError: if there is no byte, or the lengths differ.
    """

    def of_sums(sums: np.ndarray) -> np.ndarray:
        return sums[..., 0] / (math.log(2) * np.maximum(sums[..., 1], 1))

    return _ratio(nats_N, bytes_N, of_sums, "byte")


def _ratio(totals_N: Numbers, units_N: Numbers, of_sums: OfSums, unit: str) -> Score:
    check_sides(list(totals_N), list(units_N))
    statistics_NS = np.stack([np.asarray(totals_N, np.float64), np.asarray(units_N, np.float64)], axis=1)
    if statistics_NS[:, 1].sum() <= 0:
        raise DataError(f"there is no {unit} to measure; give text")
    return score_of(SummedSample(statistics_NS, of_sums))

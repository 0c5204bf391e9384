"""Whether a classifier is right as often as it is sure."""

from collections.abc import Sequence

import numpy as np

from t5lite.core.errors import DataError
from t5lite.evaluation.metrics.corpus_metric import SummedSample, score_of
from t5lite.evaluation.metrics.score import Score, check_sides


def expected_calibration_error(
    confidences: Sequence[float] | np.ndarray,
    hits: Sequence[bool] | np.ndarray,
    *,
    num_bins: int = 15,
) -> Score:
    """Return the mean distance between confidence and accuracy, by bins of equal width (Guo et al., 2017).

    The bootstrap interval is of an error that is never negative: of few examples it lies too high.

    Args:
      confidences: probability of each answer, in 0..1.
      hits: whether each answer is right.
      num_bins: bins of confidence, each without its lower end and with its upper; the first with both.

    Raises:
      DataError: if there is nothing to score, the lengths differ, or a confidence is no probability.
    """
    check_sides(list(confidences), list(hits))
    confidence_N, hit_N = np.asarray(confidences, np.float64), np.asarray(hits, np.float64)
    if not ((confidence_N >= 0) & (confidence_N <= 1)).all():
        raise DataError("a confidence is outside 0..1, or no number; give the probability of each answer")
    bin_N = np.searchsorted(np.linspace(0, 1, num_bins + 1), confidence_N, side="left") - 1
    statistics_NS = np.zeros((len(hit_N), num_bins + 1))
    statistics_NS[np.arange(len(hit_N)), np.maximum(bin_N, 0)] = hit_N - confidence_N
    statistics_NS[:, -1] = 1
    sample = SummedSample(statistics_NS, lambda sums: np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1])
    return score_of(sample, f"bins:{num_bins} equal width")

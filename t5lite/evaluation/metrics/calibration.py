"""Whether a classifier is right as often as it is sure."""

from collections.abc import Sequence

import numpy as np

from t5lite.core.errors import DataError
from t5lite.evaluation.metrics.corpus_metric import SummedSample, mean_sample, score_of
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


def brier_score(probabilities_NC: np.ndarray, labels_N: np.ndarray) -> Score:
    """Return the mean squared distance of all classes' probabilities from the truth, in 0..2 (Brier, 1950).

    Args:
      probabilities_NC: of each class, each row summing to 1.
      labels_N: the number of the right one.

    Raises:
      DataError: if there is nothing to score, or the lengths differ.
    """
    check_sides(list(probabilities_NC), list(labels_N))
    truth_NC = np.arange(probabilities_NC.shape[1])[None] == labels_N[:, None]
    return score_of(mean_sample(np.square(probabilities_NC.astype(np.float64) - truth_NC).sum(axis=1)))


def calibration(probabilities_NC: np.ndarray, labels_N: np.ndarray) -> dict[str, Score]:
    """Return both measures by name; none where a probability is no number, as of parameters that are not."""
    if not np.isfinite(probabilities_NC).all():
        return {}
    hits_N = probabilities_NC.argmax(axis=1) == labels_N
    # Rounded, a probability of float32 may be above 1.
    confidences_N = np.minimum(probabilities_NC.max(axis=1), 1)
    return {
        "expected_calibration_error": expected_calibration_error(confidences_N, hits_N),
        "brier_score": brier_score(probabilities_NC, labels_N),
    }

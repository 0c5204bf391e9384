"""Which part of a context scores of its tokens as the first and as the last one point at."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class BestSpan(NamedTuple):
    """The tokens of a context from ``first`` to ``last``, and the sum of their scores."""

    score: float
    first: int
    last: int


def best_span(starts_N: np.ndarray, ends_N: np.ndarray, *, max_length: int) -> BestSpan | None:
    """Return the span with the greatest sum of scores; None of no tokens.

    Among equals, it is the one that begins first, and of these the shortest.

    Args:
      starts_N: score of each token as the first of the span.
      ends_N: score of each token as the last.
      max_length: tokens that a span has at most.
    """
    num_tokens = len(starts_N)
    if not num_tokens:
        return None
    sums_NE = np.full((num_tokens, min(max_length, num_tokens)), -np.inf)
    for extra in range(sums_NE.shape[1]):
        sums_NE[: num_tokens - extra, extra] = starts_N[: num_tokens - extra] + ends_N[extra:]
    first, extra = divmod(int(sums_NE.argmax()), sums_NE.shape[1])
    return BestSpan(float(sums_NE[first, extra]), first, first + extra)


def best_text(
    found: Iterable[tuple[float, str]], null_scores: Iterable[float], *, threshold: float | None
) -> str:
    """Return what the windows of a context answer together; an empty text says that there is no answer.

    That is the text with the greatest score, unless the score of no answer exceeds it by more than
    ``threshold``; of several windows the least such score counts (Devlin et al. 2019, for SQuAD 2.0).

    Args:
      found: score and text of the best span of each window.
      null_scores: of each window, that of no answer.
      threshold: None never says that there is none.
    """
    score, text = max(found, key=lambda each: each[0], default=(-np.inf, ""))
    if threshold is not None and min(null_scores) - score > threshold:
        return ""
    return text

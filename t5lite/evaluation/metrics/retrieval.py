"""How well vectors find what belongs to a text among all texts of a set.

Recall at k is the share of what is right among the k most similar; MRR the mean of 1 / the rank of the first
that is right (Voorhees, 1999); nDCG at 10 is that of Järvelin & Kekäläinen (2002) with gains of 0 and 1. Of
texts that are equally similar, those that are wrong come first: vectors that are all the same find nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from t5lite.evaluation.metrics.corpus_metric import mean_sample, score_of
from t5lite.evaluation.metrics.score import Score

_AT = 10
_BLOCK = 1 << 10
"""Queries that are compared at once."""
_DISCOUNTS = 1 / np.log2(np.arange(2, _AT + 2))


class Retrieval(NamedTuple):
    """What each query finds, float64 [Q] each."""

    recall_at_1: np.ndarray
    recall_at_10: np.ndarray
    mrr: np.ndarray
    ndcg_at_10: np.ndarray
    best_Q: np.ndarray
    """The most similar candidate, int."""

    def scores(self) -> dict[str, Score]:
        """Return the means over the queries with their intervals."""
        values = self._asdict()
        del values["best_Q"]
        return {name: score_of(mean_sample(of_each)) for name, of_each in values.items()}


def retrieval(
    queries_QD: np.ndarray,
    candidates_CD: np.ndarray,
    right: list[np.ndarray],
    *,
    own_Q: np.ndarray | None = None,
) -> Retrieval:
    """Return what queries find among candidates by the products of their vectors.

    Args:
      queries_QD: float.
      candidates_CD: float.
      right: of each query the candidates that belong to it, one at least, each once.
      own_Q: of each query the candidate that is the query itself, which is left out where it is not right;
        -1: none is.
    """
    own_Q = np.full(len(queries_QD), -1) if own_Q is None else own_Q
    ranks, best = [], []
    compared = _similarities(queries_QD, candidates_CD)
    for similarities_C, numbers, itself in zip(compared, right, own_Q.tolist(), strict=True):
        if itself >= 0 and itself not in numbers:
            similarities_C[itself] = -np.inf
        numbers = numbers[np.argsort(-similarities_C[numbers])]
        own = similarities_C[numbers]
        similarities_C[numbers] = -np.inf
        above = np.array([np.count_nonzero(~(similarities_C < value)) for value in own])
        ranks.append(1 + above + np.arange(len(own)))
        best.append(numbers[0] if not above[0] else similarities_C.argmax())
    return Retrieval(
        recall_at_1=np.array([np.mean(each <= 1) for each in ranks]),
        recall_at_10=np.array([np.mean(each <= _AT) for each in ranks]),
        mrr=np.array([1 / each[0] for each in ranks]),
        ndcg_at_10=np.array([_ndcg(each) for each in ranks]),
        best_Q=np.array(best),
    )


def _similarities(queries_QD: np.ndarray, candidates_CD: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(queries_QD), _BLOCK):
        yield from queries_QD[start : start + _BLOCK] @ candidates_CD.T


def _ndcg(ranks: np.ndarray) -> float:
    return float(_DISCOUNTS[ranks[ranks <= _AT] - 1].sum() / _DISCOUNTS[: len(ranks)].sum())

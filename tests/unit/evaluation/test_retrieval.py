"""What vectors find is scored as scikit-learn does, and ties find nothing."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.evaluation.metrics.retrieval import retrieval


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_queries=st.integers(1, 6), num_candidates=st.integers(2, 30))
def test_it_is_scikit_learns_ndcg_and_recall(seed, num_queries, num_candidates):
    rng = np.random.default_rng(seed)
    queries_QD, candidates_CD = rng.normal(size=(num_queries, 4)), rng.normal(size=(num_candidates, 4))
    is_right_QC = rng.random((num_queries, num_candidates)) < 0.2
    is_right_QC[np.arange(num_queries), rng.integers(num_candidates, size=num_queries)] = True
    found = retrieval(queries_QD, candidates_CD, [np.flatnonzero(row) for row in is_right_QC])
    scores_QC = queries_QD @ candidates_CD.T
    np.testing.assert_array_equal(found.best_Q, scores_QC.argmax(axis=1))
    for query, (scores_C, right_C) in enumerate(zip(scores_QC, is_right_QC, strict=True)):
        order = np.argsort(-scores_C)
        expected = sklearn.metrics.ndcg_score(right_C[None].astype(int), scores_C[None], k=10)
        assert found.ndcg_at_10[query] == pytest.approx(expected)
        assert found.mrr[query] == 1 / (1 + np.flatnonzero(right_C[order])[0])
        assert found.recall_at_1[query] == right_C[order[:1]].sum() / right_C.sum()
        assert found.recall_at_10[query] == right_C[order[:10]].sum() / right_C.sum()
    mrr = found.scores()["mrr"]
    assert mrr.value == pytest.approx(found.mrr.mean())
    assert (mrr.interval is None) == (num_queries == 1)


@pytest.mark.parametrize("number", [1.0, np.nan])
def test_vectors_that_are_all_the_same_or_no_numbers_find_nothing(number):
    found = retrieval(np.full((2, 3), number), np.ones((20, 3)), [np.array([0]), np.array([5, 6])])
    assert found.recall_at_10.tolist() == [0, 0]
    assert found.ndcg_at_10.tolist() == [0, 0]
    assert found.mrr.max() < 0.06


def test_a_query_does_not_find_itself_unless_that_is_right():
    texts_TD = np.eye(3) + 1
    found = retrieval(texts_TD, texts_TD, [np.array([1]), np.array([1]), np.array([0])], own_Q=np.arange(3))
    assert found.best_Q[1] == 1
    assert found.mrr.tolist() == [0.5, 1, 0.5]
    alone = retrieval(texts_TD[:1], texts_TD[:2], [np.array([1])], own_Q=np.array([0]))
    assert (alone.mrr.tolist(), alone.best_Q.tolist()) == ([1], [1])
    assert retrieval(texts_TD[:1], texts_TD[:2], [np.array([1])]).mrr.tolist() == [0.5]

"""The best span of a context against every span there is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from t5lite.data.examples.best_span import best_span, best_text

SCORES = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=9)


@given(scores=SCORES, max_length=st.integers(1, 12))
def test_no_span_within_the_limit_is_better(scores, max_length):
    """Few numbers, so that many are equal: then the first to begin, and of these the shortest."""
    starts, ends = (np.array([each[side] for each in scores], float) for side in (0, 1))
    every = [
        (starts[first] + ends[last], -first, -last)
        for first in range(len(scores))
        for last in range(first, min(first + max_length, len(scores)))
    ]
    found = best_span(starts, ends, max_length=max_length)
    if not every:
        assert found is None
    else:
        assert found is not None
        assert (found.score, -found.first, -found.last) == max(every)


def test_no_answer_counts_by_the_window_in_which_it_is_least_likely():
    windows = [(3.0, "one"), (5.0, "two"), (5.0, "three")]
    assert best_text(windows, [9.0, 4.0, 8.0], threshold=0.0) == "two"
    assert best_text(windows, [9.0, 5.0, 8.0], threshold=0.0) == "two", "a tie is an answer"
    assert best_text(windows, [9.0, 5.5, 8.0], threshold=0.0) == ""
    assert best_text(windows, [9.0, 5.5, 8.0], threshold=0.5) == "two"
    assert best_text(windows, [9.0, 9.0, 9.0], threshold=None) == "two"
    assert best_text([], [1.0], threshold=None) == "", "a context without tokens"

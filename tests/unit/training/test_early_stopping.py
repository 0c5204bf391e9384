"""When a training that gets no better ends."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.training.early_stopping import EarlyStopping

VALUES = st.lists(st.integers(-5, 5).map(float) | st.just(math.nan), min_size=1, max_size=12)


def after(values, *, patience=2, min_delta=0.0, highest=False):
    stopping = EarlyStopping(patience=patience, min_delta=min_delta, metric="loss", highest=highest)
    for step, value in enumerate(values):
        stopping.record(step, {"loss": value})
    return stopping


@given(VALUES, st.integers(1, 4), st.booleans())
def test_it_is_over_once_the_first_best_value_is_patience_evaluations_ago(values, patience, highest):
    ranked = [-math.inf if math.isnan(value) else value if highest else -value for value in values]
    since = len(values) if max(ranked) == -math.inf else len(values) - 1 - ranked.index(max(ranked))
    assert after(values, patience=patience, highest=highest).is_over == (since >= patience)


@pytest.mark.parametrize(
    ("values", "min_delta", "is_over"),
    [
        ([3.0, 2.9, 2.8], 0.5, True),
        ([3.0, 2.6, 2.4], 0.5, False),  # small steps add up
        ([3.0, 2.5, 2.5], 0.5, True),  # not by more
        ([3.0, math.inf, math.nan], 0.0, True),
        ([math.nan, math.nan], 0.0, True),
        ([math.nan, 3.0, 3.0], 0.0, False),
    ],
)
def test_what_counts_as_an_improvement(values, min_delta, is_over):
    assert after(values, min_delta=min_delta).is_over == is_over


@given(VALUES, st.lists(st.integers(0, 12), max_size=20))
def test_evaluations_that_did_not_measure_it_do_not_count(values, places):
    entries = [{"loss": value} for value in values]
    for place in places:
        entries.insert(place, {"text_loss": 1.0})
    stopping = EarlyStopping(patience=2, min_delta=0.0, metric="loss", highest=False)
    for step, entry in enumerate(entries):
        stopping.record(step, entry)
    assert stopping.is_over == after(values).is_over
    assert stopping.num_lacking == len(places)


def test_a_metric_that_was_null_was_measured():
    """What is not finite is null in the metrics file."""
    stopping = EarlyStopping(patience=2, min_delta=0.0, metric="loss", highest=False)
    for step in range(2):
        stopping.record(step, {"loss": None})
    assert stopping.is_over
    assert not stopping.num_lacking


def test_it_says_why():
    said = str(after([3.0, 2.0, 2.5, 2.25], min_delta=0.1))
    assert said == (
        "loss last improved by more than 0.1 at step 1 (2.0000), and has not in 2 evaluations "
        "(training.early_stopping_patience=2)"
    )
    assert "loss was no number in 2 evaluations" in str(after([math.nan, math.nan]))

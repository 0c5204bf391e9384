"""Inputs of like length are decoded together, padded to few lengths."""

import math

from hypothesis import given
from hypothesis import strategies as st

from t5lite.evaluation.length_buckets import buckets, padded_length


@given(st.integers(1, 4096).flatmap(lambda most: st.tuples(st.just(most), st.lists(st.integers(1, most)))))
def test_every_input_is_in_one_batch_that_has_room_for_it(case):
    most, lengths = case
    found = buckets(lengths, batch_size=3, most=most)
    assert sorted(number for bucket in found for number in bucket.numbers) == list(range(len(lengths)))
    assert len(found) == math.ceil(len(lengths) / 3)
    for bucket in found:
        longest = max(lengths[number] for number in bucket.numbers)
        assert longest <= bucket.length <= most


@given(st.integers(1, 10_000))
def test_there_are_few_lengths_and_little_is_padded(most):
    padded = [padded_length(length, most) for length in range(1, most + 1)]
    assert padded == sorted(padded)
    assert len(set(padded)) <= 2 * math.log2(max(most, 2))
    assert all(long <= max(16, 1.5 * length) for length, long in enumerate(padded, 1))

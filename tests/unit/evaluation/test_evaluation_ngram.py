from collections import Counter
from itertools import pairwise
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy, unigram_probabilities

VOCAB = 7
streams = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40)


def naive_unigram(train: list[int], token: int, add_k: float) -> float:
    return (train.count(token) + add_k) / (len(train) + VOCAB * add_k)


def naive_bigram(train: list[int], before: int, token: int, add_k: float) -> float:
    pairs = Counter(pairwise(train))
    count = sum(c for (v, _), c in pairs.items() if v == before)
    types = sum(1 for v, _ in pairs if v == before)
    backoff = naive_unigram(train, token, add_k)
    return (pairs[before, token] + types * backoff) / (count + types) if count else backoff


@given(train=streams, heldout=streams, add_k=st.sampled_from([0.01, 0.5, 1.0]))
@settings(deadline=None, max_examples=60)
def test_both_equal_the_dictionary_version(train, heldout, add_k):
    unigram = [-log(naive_unigram(train, t, add_k)) for t in heldout]
    bigram = unigram[:1] + [-log(naive_bigram(train, v, w, add_k)) for v, w in pairwise(heldout)]
    arguments = {"vocab_size": VOCAB, "add_k": add_k}
    assert unigram_cross_entropy(np.array(train), np.array(heldout), **arguments) == pytest.approx(
        np.mean(unigram)
    )
    assert bigram_cross_entropy(np.array(train), np.array(heldout), **arguments) == pytest.approx(
        np.mean(bigram)
    )


@given(train=streams, before=st.integers(0, VOCAB - 1))
@settings(deadline=None, max_examples=30)
def test_bigram_probabilities_after_any_context_sum_to_one(train, before):
    total = 0.0
    first = unigram_cross_entropy(np.array(train), np.array([before]), vocab_size=VOCAB)
    for token in range(VOCAB):
        both = 2 * bigram_cross_entropy(np.array(train), np.array([before, token]), vocab_size=VOCAB)
        total += np.exp(first - both)
    assert total == pytest.approx(1.0)


def markov_stream(size: int, seed: int) -> tuple[np.ndarray, float]:
    """A chain that steps to the next of 50 states with 0.9, anywhere with 0.1; and its entropy rate."""
    rng = np.random.default_rng(seed)
    jumps, anywhere = rng.random(size) < 0.1, rng.integers(0, 50, size)
    states = np.zeros(size, np.int64)
    for i in range(1, size):
        states[i] = anywhere[i] if jumps[i] else (states[i - 1] + 1) % 50
    likely, other = 0.9 + 0.1 / 50, 0.1 / 50
    return states, -(likely * log(likely) + 49 * other * log(other))


def test_bigram_finds_the_structure_of_a_markov_source_and_the_unigram_does_not():
    train, entropy_rate = markov_stream(60_000, seed=0)
    heldout, _ = markov_stream(10_000, seed=1)
    unigram = unigram_cross_entropy(train, heldout, vocab_size=50)
    bigram = bigram_cross_entropy(train, heldout, vocab_size=50)
    assert unigram == pytest.approx(log(50), abs=0.01)
    assert bigram == pytest.approx(entropy_rate, abs=0.05)
    assert bigram < unigram


def test_unigram_probabilities_of_known_counts():
    expected = np.array([3, 2, 1]) / 6
    assert unigram_probabilities(np.array([[0, 0, 1]]), vocab_size=3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("train", "heldout", "message"),
    [
        ([], [1], "training token stream is empty"),
        ([1], [], "held-out token stream is empty"),
        ([1, 9], [1], r"token id 9 of the training stream is outside \[0, 7\)"),
        ([1], [-1], r"token id -1 of the held-out stream"),
    ],
)
@pytest.mark.parametrize("function", [unigram_cross_entropy, bigram_cross_entropy])
def test_streams_that_cannot_be_scored_are_refused(function, train, heldout, message):
    with pytest.raises(DataError, match=message):
        function(np.array(train, np.int64), np.array(heldout, np.int64), vocab_size=VOCAB)


def test_no_smoothing_is_refused():
    with pytest.raises(DataError, match="add_k=0"):
        unigram_cross_entropy(np.array([1]), np.array([1]), vocab_size=VOCAB, add_k=0)

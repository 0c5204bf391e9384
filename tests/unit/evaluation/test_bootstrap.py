"""The law of corpus metrics: any choice of examples has the value that these examples alone would have."""

import itertools
import random

import numpy as np
import pytest
import sacrebleu
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.evaluation import metrics
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.bootstrap import difference
from t5lite.evaluation.metrics.likelihood import bits_per_byte, mean_per_unit, perplexity

NUMBERS = {"pearson", "spearman"}
FIXED = {"majority_accuracy", "label_fraction", "micro_f1"}
"""What is counted on all examples stays: the majority class, the labels that there are."""
WORDS = ["the cat", "sat\non it", "a dog", "", "the hill"]


def corpus(name, seed, count):
    rng = random.Random(seed)
    pool = ["1", "2", "2.5", "-4"] if name in NUMBERS else WORDS
    return rng.choices(pool, k=count), rng.choices(pool, k=count)


@pytest.mark.parametrize("name", METRICS)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_the_value_of_a_choice_is_that_of_its_examples(name, data):
    predictions, references = corpus(name, data.draw(st.integers(0, 99)), 6)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
    sample, _ = METRICS[name].measured(predictions, references)
    chosen = [place for place, count in enumerate(counts) for _ in range(count)]
    alone = METRICS[name]([predictions[i] for i in chosen], [references[i] for i in chosen]).value
    (value,) = sample.values(np.array([counts], np.float64))
    if name not in FIXED:
        assert value == pytest.approx(alone, abs=1e-9)
    everything = METRICS[name](predictions, references)
    assert sample.values(np.ones((1, 6)))[0] == pytest.approx(everything.value)
    assert everything == METRICS[name](predictions, references)  # the seed is fixed


def test_a_choice_of_equal_numbers_has_no_correlation():
    """Its variance is 0, which rounding makes 1e-17."""
    for seed in range(100):
        predictions, references = corpus("pearson", seed, 6)
        sample, _ = METRICS["pearson"].measured(predictions, references)
        for i, j in itertools.combinations(range(6), 2):
            if predictions[i] == predictions[j] or references[i] == references[j]:
                counts = np.zeros((1, 6))
                counts[0, [i, j]] = 1, 2
                assert sample.values(counts)[0] == 0.0


def test_the_interval_of_a_mean_is_that_of_statistics():
    for share in (0.5, 0.9):
        count = 400
        predictions = ["a"] * round(share * count) + ["b"] * round((1 - share) * count)
        score = metrics.accuracy(predictions, ["a"] * count)
        error = (share * (1 - share) / count) ** 0.5
        assert score.error == pytest.approx(error, rel=0.12)  # five standard errors of a thousand resamples
        assert score.interval.num_resamples == 1000
        assert score.interval.low == pytest.approx(share - 1.96 * error, abs=0.4 * error)
        assert score.interval.high == pytest.approx(share + 1.96 * error, abs=0.4 * error)


def test_intervals_are_scipys_percentiles():
    """Of resamples drawn otherwise: they may be as far apart as the luck of both makes them."""
    rng = random.Random(1)
    references = [" ".join(rng.choices(WORDS, k=3)) for _ in range(24)]
    predictions = [each if rng.random() < 0.3 else " ".join(rng.choices(WORDS, k=3)) for each in references]
    hits = rng.choices([0, 1], [1, 2], k=400)

    def chrf(chosen):
        texts, wanted = ([side[place] for place in chosen] for side in (predictions, references))
        return sacrebleu.CHRF().corpus_score(texts, [wanted]).score

    for found, examples, statistic, num_drawn in (
        (metrics.chrf(predictions, references), np.arange(24), chrf, 300),
        (metrics.accuracy([str(hit) for hit in hits], ["1"] * 400), np.array(hits), np.mean, 10_000),
    ):
        expected = scipy.stats.bootstrap(
            (examples,), statistic, n_resamples=num_drawn, method="percentile", rng=0
        )
        error, draws = expected.standard_error, 1 / num_drawn + 1 / found.interval.num_resamples
        assert found.error == pytest.approx(error, rel=3 * (draws / 2) ** 0.5)
        density = scipy.stats.norm.pdf(scipy.stats.norm.ppf(0.025))
        luck = error * (0.025 * 0.975 * draws) ** 0.5 / density
        assert (found.interval.low, found.interval.high) == pytest.approx(
            tuple(expected.confidence_interval), abs=3 * luck
        )


def test_a_single_example_has_no_interval():
    score = metrics.bleu(["a cat sat here"], ["a cat sat here"])
    assert score.value == pytest.approx(100)
    assert score.error is score.interval is None


def test_pairing_tells_apart_what_intervals_alone_do_not():
    rng = random.Random(0)
    references = ["yes"] * 400
    worse = ["yes" if rng.random() < 0.6 else "no" for _ in references]
    better = ["yes" if place % 16 == 0 else answer for place, answer in enumerate(worse)]
    first, second = (metrics.accuracy.measured(each, references)[0] for each in (better, worse))
    alone = [metrics.accuracy(each, references).interval for each in (better, worse)]
    assert alone[0].low < alone[1].high
    found = difference(first, second)
    assert found.is_clear
    assert found.interval.low > 0
    assert difference(second, first).value == -found.value
    assert not difference(first, first).is_clear
    with pytest.raises(DataError, match="cannot pair 400 examples with 2"):
        difference(first, metrics.accuracy.measured(["a", "b"], ["a", "b"])[0])


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9)), min_size=2, max_size=20))
def test_likelihoods_are_ratios_of_sums(rows):
    nats, units = (np.array(side, np.float64) for side in zip(*rows, strict=True))
    mean = nats.sum() / units.sum()
    assert mean_per_unit(nats, units).value == pytest.approx(mean)
    assert perplexity(nats, units).value == pytest.approx(np.exp(mean))
    assert bits_per_byte(nats, units).value == pytest.approx(mean / np.log(2))
    interval = bits_per_byte(nats, units).interval
    assert interval.low <= interval.high
    assert min(nats / units) - 1e-9 <= interval.low * np.log(2)


def test_likelihood_of_nothing_is_refused():
    with pytest.raises(DataError, match="no byte to measure"):
        bits_per_byte([1.0, 2.0], [0, 0])
    with pytest.raises(DataError, match="cannot score 1 predictions against 2"):
        perplexity([1.0], [1, 2])

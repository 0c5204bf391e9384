from collections import Counter
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import derive_key, random_bits
from t5lite.data.objectives import OBJECTIVES
from t5lite.data.objectives.sentinels import corrupt
from t5lite.data.objectives.span_corruption import SpanCorruption, random_composition

FIRST_SENTINEL = 32_099
SENTINELS = np.arange(FIRST_SENTINEL, FIRST_SENTINEL - 1000, -1)

# Beyond 0.55, spans of 1.5 tokens can outnumber the kept tokens that must part them: such lengths fail.
SETTINGS = st.builds(SpanCorruption, noise_density=st.floats(0.05, 0.55), mean_span_length=st.floats(1.5, 12))


def full_sides(tokens, mask, sentinel_ids=SENTINELS):
    """Inputs and targets of a mask with as many tokens and spans in every row."""
    sides = corrupt(tokens, mask, sentinel_ids=sentinel_ids)
    lengths = [np.unique(side) for side in (sides.inputs_lengths_B, sides.targets_lengths_B)]
    return sides.inputs_BM[:, : lengths[0].item()], sides.targets_BL[:, : lengths[1].item()]


@pytest.mark.parametrize(
    ("inputs", "density", "span", "raw", "targets"),
    [
        (512, 0.15, 3, 568, 114),
        (512, 0.15, 2, 552, 126),
        (512, 0.15, 5, 581, 105),
        (512, 0.15, 10, 591, 99),
        (512, 0.5, 3, 766, 512),
        (1024, 0.15, 3, 1137, 229),
        (10**9, 0.15, 3, 1_111_111_110, 222_222_222),  # found in no more time
    ],
)
def test_length_table_of_t5(inputs, density, span, raw, targets):
    objective = SpanCorruption(noise_density=density, mean_span_length=span)
    assert objective.chunk_length(inputs) == (raw, targets)


def test_t5_default_counts():
    assert SpanCorruption().counts(568) == (85, 28)
    assert OBJECTIVES["SpanCorruption"] is SpanCorruption


@pytest.mark.parametrize(
    ("raw", "density", "noise"),
    [(10, 0.25, 2), (30, 0.25, 8), (50, 0.25, 12), (3, 0.15, 1), (3, 0.99, 2)],
)
def test_rounding_is_half_even_and_clipped(raw, density, noise):
    assert SpanCorruption(noise_density=density).counts(raw)[0] == noise


@settings(deadline=None, max_examples=100)
@given(objective=SETTINGS, inputs_length=st.integers(16, 700))
def test_chunk_length_is_the_largest_that_fits(objective, inputs_length):
    raw, targets = objective.chunk_length(inputs_length)
    assert objective.lengths(raw) == (inputs_length, targets)
    if objective.noise_density != 0.5:
        assert objective.lengths(raw + 1)[0] > inputs_length


@settings(deadline=None, max_examples=60)
@given(objective=SETTINGS, inputs_length=st.integers(16, 300), seed=st.integers(0, 1 << 40))
def test_inputs_and_targets_rebuild_the_chunk(objective, inputs_length, seed):
    raw, targets_length = objective.chunk_length(inputs_length)
    tokens = np.random.default_rng(seed).integers(3, 30_000, (4, raw)).astype(np.uint16)
    mask = objective.noise_mask(raw, key=derive_key(seed, "noise"), indices=np.arange(4))
    inputs_BM, targets_BL = full_sides(tokens, mask)
    assert inputs_BM.shape == (4, inputs_length)
    assert targets_BL.shape == (4, targets_length)
    assert inputs_BM.dtype == targets_BL.dtype == np.int32
    num_noise, num_spans = objective.counts(raw)
    expected_sentinels = FIRST_SENTINEL - np.arange(num_spans)
    first_possible = FIRST_SENTINEL - num_spans
    for chunk, inputs, targets in zip(tokens, inputs_BM, targets_BL, strict=True):
        assert inputs[-1] == targets[-1] == 1
        assert inputs[0] == chunk[0]
        assert inputs[-2] == expected_sentinels[-1]
        assert targets[-2] == chunk[-1]
        for side in (inputs, targets):
            np.testing.assert_array_equal(side[side > first_possible], expected_sentinels)
        assert targets_length - 1 - num_spans == num_noise
        spans = np.split(targets[:-1], np.flatnonzero(targets > first_possible))[1:]
        hidden = {int(span[0]): span[1:].tolist() for span in spans}
        assert all(hidden.values())
        rebuilt = []
        for token in inputs[:-1].tolist():
            rebuilt.extend(hidden.get(token, [token]))
        assert rebuilt == chunk.tolist()


def test_worked_example():
    tokens = np.array([[10, 11, 12, 13, 14, 15]])
    mask = np.array([[False, False, True, True, False, True]])
    for first, second in ((99, 98), (3, 4), (7, 50)):  # wherever they are
        inputs, targets = full_sides(tokens, mask, sentinel_ids=np.array([first, second]))
        assert inputs.tolist() == [[10, 11, first, 14, second, 1]]
        assert targets.tolist() == [[first, 12, 13, second, 15, 1]]


@pytest.mark.parametrize(("items", "parts"), [(6, 3), (5, 1), (5, 5), (7, 2)])
def test_compositions_are_uniform(items, parts):
    draws = 20_000
    bits = random_bits(derive_key(3, "noise"), np.arange(draws), max(items - 1, 1))[:, : items - 1]
    lengths = random_composition(bits, items, parts)
    assert (lengths.sum(axis=1) == items).all()
    assert lengths.min() >= 1
    counts = Counter(map(tuple, lengths.tolist()))
    number = comb(items - 1, parts - 1)
    assert len(counts) == number
    expected = draws / number
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < number - 1 + 5 * np.sqrt(2 * number)


def test_every_position_but_the_first_is_masked_about_equally():
    mask = SpanCorruption().noise_mask(568, key=derive_key(0, "noise"), indices=np.arange(4000))
    assert (mask.sum(axis=1) == 85).all()
    share = mask.mean(axis=0)
    assert share[0] == 0
    assert share[-1] == 1
    np.testing.assert_allclose(share[100:450], 0.15, atol=0.03)
    np.testing.assert_allclose(share[100:450].mean(), 0.15, atol=0.005)


def test_noise_depends_on_key_and_index_only():
    objective, key = SpanCorruption(), derive_key(7, "noise")
    many = objective.noise_mask(568, key=key, indices=np.arange(10, 20))
    np.testing.assert_array_equal(objective.noise_mask(568, key=key, indices=np.array([15]))[0], many[5])
    assert len({row.tobytes() for row in many}) == 10
    other = objective.noise_mask(568, key=derive_key(8, "noise"), indices=np.arange(10, 20))
    assert (other != many).any(axis=1).all()


def test_stream_is_the_documented_philox():
    key = derive_key(0, "noise")
    expected = np.random.Philox(key=key, counter=np.array([0, 0, 0, 5], np.uint64)).random_raw(4)
    np.testing.assert_array_equal(random_bits(key, np.array([5]), 4)[0], expected)


@pytest.mark.parametrize(
    "values", [{"noise_density": 0.0}, {"noise_density": 1.0}, {"mean_span_length": 0.5}]
)
def test_settings_out_of_range(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        SpanCorruption(**values)


def test_lengths_that_cannot_be_filled():
    with pytest.raises(ConfigError, match="inputs_length=2 cannot be filled"):
        SpanCorruption().chunk_length(2)
    with pytest.raises(ConfigError, match="less noise"):
        SpanCorruption(noise_density=0.9, mean_span_length=1).chunk_length(64)

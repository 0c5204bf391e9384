"""Laws of the spike detector: what must not be a spike, what must be one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.training.spikes import MIN_LOSSES, SpikeDetector

DETECTOR = SpikeDetector(threshold=10.0, window_steps=128)


def spikes(losses, detector=DETECTOR) -> list[int]:
    """Indices of the spikes; what is one is not remembered, as in a training."""
    found = []
    for index, loss in enumerate(losses):
        if detector.is_spike(float(loss)):
            found.append(index)
        else:
            detector = detector.after(float(loss))
    return found


def longest_row(indices: list[int]) -> int:
    longest = row = 0
    for before, index in zip([None, *indices], indices, strict=False):
        row = row + 1 if before is not None and index == before + 1 else 1
        longest = max(longest, row)
    return longest


seeds = st.integers(0, 2**32 - 1)


@given(loss=st.floats(0, 100), ripple=st.floats(0, 0.4))
def test_losses_that_hardly_vary_are_none(loss, ripple):
    assert spikes([loss] * 200 + [loss + ripple] * 50) == []


@given(start=st.floats(1, 20), end=st.floats(0, 1), seed=seeds, noise=st.floats(0, 0.5))
def test_the_fast_decrease_at_the_start_is_none(start, end, seed, noise):
    steps = np.arange(400)
    losses = end + (start - end) * np.exp(-steps / 30)
    assert spikes(losses * (1 + noise * np.random.default_rng(seed).uniform(-1, 1, 400))) == []


@given(losses=st.lists(st.floats(0, 50), min_size=1, max_size=300))
def test_losses_that_never_rise_are_none(losses):
    assert spikes(sorted(losses, reverse=True)) == []


@given(seed=seeds, scale=st.floats(0.01, 3))
def test_heavy_noise_has_no_row_of_them(seed, scale):
    """Student's t with two degrees of freedom has no variance: outliers, but single ones."""
    noise = np.abs(np.random.default_rng(seed).standard_t(2, 500))
    assert longest_row(spikes(3 + scale * noise)) < 5


@given(
    seed=seeds,
    loss=st.floats(0.5, 10),
    noise=st.floats(0, 0.05),
    healthy=st.integers(MIN_LOSSES, 300),
    factor=st.floats(2.5, 1e20),
)
def test_a_real_one_is_found_as_long_as_it_lasts(seed, loss, noise, healthy, factor):
    losses = loss * (1 + noise * np.random.default_rng(seed).uniform(-1, 1, healthy))
    jump = max(factor * loss, loss + 1.5)
    assert spikes([*losses, *[jump] * 300]) == list(range(healthy, healthy + 300))


def test_forty_healthy_steps_are_enough_of_a_record():
    healthy = np.linspace(6.5, 5.0, 40)
    assert spikes([*healthy, 5.2, 1e19, 30.0, 5.1]) == [41, 42]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_is_not_finite_is_one(loss):
    detector = DETECTOR
    for _ in range(MIN_LOSSES):
        detector = detector.after(2.0)
    assert detector.is_spike(loss)


@given(losses=st.lists(st.floats(0, 1e30), max_size=300))
def test_none_calls_nothing_a_spike(losses):
    assert spikes(losses, SpikeDetector(threshold=None, window_steps=128)) == []


@given(losses=st.lists(st.floats(0, 50), max_size=300))
def test_it_remembers_a_window(losses):
    detector = DETECTOR
    for loss in losses:
        detector = detector.after(loss)
    assert detector.recent == tuple(losses[-128:])

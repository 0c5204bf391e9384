"""Schedules at their marked points and within their bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.optim import SCHEDULES, Constant, InverseSqrt, WarmupCosine, WarmupStableDecay


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_inverse_sqrt_is_t5s():
    schedule = InverseSqrt().build(1 << 19)
    np.testing.assert_allclose(
        rates(schedule, [0, 10_000, 40_000, 1_000_000]), [0.01, 0.01, 0.005, 0.001], rtol=1e-6
    )


def test_inverse_sqrt_with_a_rising_warmup():
    schedule = InverseSqrt(base=2.0, warmup_steps=100, warmup="linear").build(1000)
    np.testing.assert_allclose(rates(schedule, [0, 49, 99, 400]), [0.002, 0.1, 0.2, 0.1], rtol=1e-6)


def test_inverse_sqrt_with_t5_1_1s_linear_end():
    """As without it until the last tenth, whose factor is linear; a run of another length has it, too."""
    plain, decayed = InverseSqrt().build(100_000), InverseSqrt(decay_steps=10_000).build(100_000)
    steps = [0, 10_000, 90_000, 95_000, 100_000]
    factors = [1, 1, 1, 0.5, 0]
    np.testing.assert_allclose(rates(decayed, steps), rates(plain, steps) * factors, rtol=1e-6)
    assert InverseSqrt(decay_steps=10_000).scaled(steps=0.5).decay_steps == 5000


def test_warmup_cosine():
    schedule = WarmupCosine(peak=1.0, warmup_steps=10, final_fraction=0.2).build(110)
    np.testing.assert_allclose(
        rates(schedule, [0, 4, 9, 10, 60, 110, 500]), [0.1, 0.5, 1, 1, 0.6, 0.2, 0.2], atol=1e-6
    )


def test_warmup_stable_decay():
    schedule = WarmupStableDecay(peak=1.0, warmup_steps=10, decay_steps=100).build(300)
    np.testing.assert_allclose(
        rates(schedule, [0, 9, 200, 250, 299, 300]), [0.1, 1, 1, 0.5, 0.01, 0], atol=1e-6
    )


def test_constant():
    np.testing.assert_allclose(rates(Constant(value=0.5).build(3), [0, 1, 100]), 0.5)
    np.testing.assert_allclose(
        rates(Constant(value=0.5, warmup_steps=2).build(3), [0, 1, 2]), [0.25, 0.5, 0.5]
    )


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    warmup=st.integers(1, 50),
    decay=st.integers(1, 50),
    height=st.floats(1e-6, 10.0),
    step=st.integers(0, 200),
)
def test_rates_stay_between_0_and_the_height(name, warmup, decay, height, step):
    schedule = {
        "Constant": Constant(value=height, warmup_steps=warmup),
        "InverseSqrt": InverseSqrt(base=height * warmup**0.5, warmup_steps=warmup, decay_steps=decay),
        "WarmupCosine": WarmupCosine(peak=height, warmup_steps=warmup),
        "WarmupStableDecay": WarmupStableDecay(peak=height, warmup_steps=warmup, decay_steps=decay),
    }[name].build(150)
    rate = float(schedule(step))
    assert 0 <= rate <= height * (1 + 1e-6)
    assert rate > 0 or step >= 150


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(value=0.0), "schedule.value=0.0"),
        (lambda: Constant(value=float("nan")), "schedule.value=nan"),
        (lambda: InverseSqrt(warmup_steps=0), "must be 1 or more"),
        (lambda: InverseSqrt(decay_steps=-1), "decay_steps=-1 must be 0 or more"),
        (lambda: InverseSqrt(decay_steps=11).build(10), "decay_steps=11 is more than"),
        (lambda: WarmupCosine(peak=1.0, final_fraction=1.5), "final_fraction=1.5"),
        (lambda: WarmupStableDecay(peak=1.0, decay_steps=0), "decay_steps=0"),
        (lambda: WarmupCosine(peak=1.0, warmup_steps=11).build(10), "training.total_steps=10"),
        (lambda: WarmupStableDecay(peak=1.0, warmup_steps=6, decay_steps=5).build(10), "decay_steps=11"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()

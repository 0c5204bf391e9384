"""Sines and rotation against float64, the law of rotary attention, and positions inside packed rows."""

import jax.numpy as jnp
import numpy as np
import pytest
from architectures import make_rows, make_tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.models.config import LearnedPositions, RotaryPositions
from t5lite.models.layers.position import positions_in_segments, rotate, rotation, sinusoids

LONGEST = 512


def angles_in_float64(positions, dim, base):
    return positions[:, None] / base ** (np.arange(0, dim, 2) / dim)


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_sinusoids_equal_the_formula_in_float64(dim):
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i + 1) = cos(same): Vaswani et al. 2017, 3.5."""
    positions = np.arange(LONGEST)
    expected = np.zeros((LONGEST, dim))
    expected[:, 0::2] = np.sin(angles_in_float64(positions, dim, 1e4))
    expected[:, 1::2] = np.cos(angles_in_float64(positions, dim, 1e4))
    got = sinusoids(jnp.asarray(positions)[None], dim)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("base", [1e4, 5e5])
def test_rotation_equals_a_complex_product_in_float64(base):
    positions = np.arange(LONGEST)
    x = np.random.default_rng(0).standard_normal((LONGEST, 3, 16))
    turned = (x[..., :8] + 1j * x[..., 8:]) * np.exp(1j * angles_in_float64(positions, 16, base))[:, None]
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    got = rotate(
        jnp.asarray(x, jnp.float32)[None],
        rotation(jnp.asarray(positions)[None], 16, RotaryPositions(base=base)),
    )
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=2e-4)


def test_rotation_keeps_the_dtype_and_none_is_none():
    x = jnp.ones((1, 4, 2, 8), jnp.bfloat16)
    assert rotate(x, None) is x
    assert rotate(x, rotation(jnp.arange(4)[None], 8, RotaryPositions())).dtype == jnp.bfloat16


@settings(deadline=None, max_examples=25)
@given(
    query_at=st.integers(0, 200),
    key_at=st.integers(0, 200),
    shift=st.integers(0, 300),
    seed=st.integers(0, 2**16),
)
def test_rotated_scores_depend_on_the_distance_alone(query_at, key_at, shift, seed):
    q, k = np.random.default_rng(seed).standard_normal((2, 1, 1, 1, 8)).astype(np.float32)

    def score(i, j):
        turned = [
            rotate(jnp.asarray(x), rotation(jnp.asarray([[at]]), 8, RotaryPositions()))
            for x, at in ((q, i), (k, j))
        ]
        return float(jnp.vdot(*turned))

    exact = float(np.vdot(q, k))
    assert abs(score(query_at + shift, key_at + shift) - score(query_at, key_at)) < 1e-3
    assert abs(score(query_at, query_at) - exact) < 1e-4


def test_positions_restart_in_every_segment():
    ids = jnp.asarray([[1, 1, 1, 2, 2, 0], [0, 0, 1, 1, 1, 1], [3, 3, 0, 4, 4, 4]])
    expected = [[0, 1, 2, 0, 1, 0], [0, 1, 0, 1, 2, 3], [0, 1, 0, 0, 1, 2]]
    np.testing.assert_array_equal(positions_in_segments(ids, 6), expected)
    np.testing.assert_array_equal(positions_in_segments(None, 4), [[0, 1, 2, 3]])


def test_the_table_of_an_offset_is_read_from_its_first_row_on():
    """OPT's table has two rows that stand before position 0 and are never read."""
    tiny = make_tiny("decoder_only", positions=LearnedPositions(offset=2), max_length=6)
    batch = make_rows(tiny.config, [[(1, 6)]], length=6)
    expected = tiny.forward(tiny.params, batch)
    table = tiny.params["decoder"]["positions"]["embedding"]
    assert table.shape == (8, 16)
    tiny.params["decoder"]["positions"]["embedding"] = table.at[:2].set(jnp.nan)
    np.testing.assert_array_equal(tiny.forward(tiny.params, batch), expected)
    tiny.params["decoder"]["positions"]["embedding"] = table.at[7].add(1.0)
    changed = np.abs(tiny.forward(tiny.params, batch) - expected).max(axis=(0, 2)) > 1e-3
    np.testing.assert_array_equal(changed, [False] * 5 + [True])

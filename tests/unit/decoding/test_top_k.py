"""The greatest numbers, found block by block, are those that XLA finds, where it finds them."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.cpu.top_k import top_k

NUMBER = 3


@pytest.mark.parametrize("length", [768, 900, 1030])
@given(st.data())
def test_they_are_the_greatest_and_of_equals_the_first(length, data):
    """With blocks that are whole and not, more equals than are asked for, and hardly any finite number."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = data.draw(st.sampled_from([(0.0, 1.0, 2.0), (-np.inf, 0.0, -np.inf), (-np.inf,), (1.0,)]))
    x = rng.choice(np.array(values, np.float32), (2, length))
    places = rng.integers(0, length, 2)
    x[:, places] = rng.normal(size=(2, 2)).astype(np.float32)
    found, expected = jax.jit(top_k, static_argnums=1)(x, NUMBER), jax.lax.top_k(x, NUMBER)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])

"""What keeps the products of one position apart is the same numbers, and nothing of longer rows."""

import jax
import numpy as np

from t5lite.cpu.lone_products import lone


def test_numbers_stay_what_they_are():
    x_BLF = np.float32([[[0, -0.0, 1.5, -2, np.inf, -np.inf, np.nan, 1e-45]]])
    found_BLF = np.asarray(jax.jit(lone)(x_BLF))
    np.testing.assert_array_equal(found_BLF, x_BLF)
    np.testing.assert_array_equal(np.signbit(found_BLF[..., :6]), np.signbit(x_BLF[..., :6]))


def test_of_longer_rows_nothing_is_computed():
    x_BLF = np.ones((1, 2, 3), np.float32)
    assert lone(x_BLF) is x_BLF

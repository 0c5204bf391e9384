"""The place of the greatest number, found among integers in the same order, is the one that NumPy finds."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from t5lite.cpu.argmax import argmax

find = jax.jit(argmax)


NUMBERS = st.sampled_from([-np.inf, -3, -1, -0.0, 0, 2.5, 3, np.inf, np.nan, -np.nan])


@given(st_numpy.arrays(np.float32, (3, 7), elements=NUMBERS))
def test_it_is_the_first_of_equals_and_of_what_is_no_number(x):
    np.testing.assert_array_equal(find(x), np.argmax(x, axis=-1))

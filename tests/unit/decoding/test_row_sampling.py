"""Sampling by options that anybody may send."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.decoding import Sampling
from t5lite.decoding.row_sampling import Needs, RowOptions, pick

LOGITS_BV = np.array([[-np.inf, -5.0, -3.0, -4.0], [-np.inf, 90.0, 95.0, -90.0]], np.float32)


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 2e-38, 1e-6])
@pytest.mark.parametrize("top_p", [1e-45, 1e-38, 1e-9, 1.0])
def test_the_coldest_and_narrowest_take_the_most_probable_token(temperature, top_p):
    picking = jax.jit(pick, static_argnums=3)
    needs = Needs(sampling=True, top_p=True, num_top=1)
    seeds_B = jnp.arange(2, dtype=jnp.uint32)
    for warmer in (temperature, 2.0) if top_p < 1 else (temperature,):
        options = RowOptions(jnp.full(2, warmer, jnp.float32), jnp.full(2, top_p, jnp.float32), seeds_B)
        assert picking(LOGITS_BV, options, 0, needs).token_B.tolist() == [2, 2]


def test_the_coldest_strategy_draws_the_most_probable_token():
    filtered_RV = np.asarray(Sampling(temperature=2e-38).filtered(jnp.asarray(LOGITS_BV)))
    assert filtered_RV.argmax(axis=1).tolist() == [2, 2]
    assert filtered_RV.max(axis=1).tolist() == [0, 0]

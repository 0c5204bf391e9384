import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_config

from t5lite.models.config import Execution
from t5lite.models.layers.making import Making
from t5lite.models.layers.position import RelativePositionBias, relative_position_bucket


def t5_buckets(relative_position, *, bidirectional, num_buckets, max_distance):
    """mesh_tensorflow's formula in float64, with a nudge over the whole numbers that log() misses."""
    buckets = np.zeros(relative_position.shape, np.int64)
    n = -relative_position
    if bidirectional:
        num_buckets //= 2
        buckets += (n < 0) * num_buckets
        n = np.abs(n)
    else:
        n = np.maximum(n, 0)
    exact = num_buckets // 2
    scale = (num_buckets - exact) / np.log(max_distance / exact)
    large = exact + np.floor(np.log(np.maximum(n, 1) / exact) * scale + 1e-9).astype(np.int64)
    return buckets + np.where(n < exact, n, np.minimum(large, num_buckets - 1))


@settings(deadline=None, max_examples=20)
@given(
    bidirectional=st.booleans(),
    num_buckets=st.sampled_from([8, 16, 32, 64]),
    extra=st.integers(1, 300),
)
def test_buckets_equal_t5s_formula_in_float64(bidirectional, num_buckets, extra):
    max_distance = num_buckets // 2 + extra
    relative_position = np.arange(-400, 401)
    arguments = {
        "bidirectional": bidirectional,
        "num_buckets": num_buckets,
        "max_distance": max_distance,
    }
    got = relative_position_bucket(jnp.asarray(relative_position), **arguments)
    np.testing.assert_array_equal(got, t5_buckets(relative_position, **arguments))


@pytest.mark.parametrize(
    ("bidirectional", "relative_position", "bucket"),
    [
        (True, 0, 0),
        (True, -7, 7),
        (True, -8, 8),
        (True, -16, 10),  # exactly on a boundary: log(2) / log(16) * 8 = 2
        (True, -15, 9),
        (True, -64, 14),
        (True, -128, 15),
        (True, -5000, 15),
        (True, 1, 17),
        (True, 32, 28),
        (True, 5000, 31),
        (False, 3, 0),
        (False, -15, 15),
        (False, -16, 16),
        (False, -5000, 31),
    ],
)
def test_buckets_of_the_published_models(bidirectional, relative_position, bucket):
    got = relative_position_bucket(
        jnp.asarray(relative_position), bidirectional=bidirectional, num_buckets=32, max_distance=128
    )
    assert int(got) == bucket


def test_bias_is_the_table_entry_of_the_bucket():
    with nnx.use_eager_sharding(False):
        config = make_config()
        making = Making.of(config, Execution(), nnx.Rngs(0))
        bias = RelativePositionBias(config.positions, config.num_heads, making, bidirectional=True)
    queries, keys = jnp.arange(3, 9), jnp.arange(11)
    buckets = relative_position_bucket(
        keys[None, :] - queries[:, None], bidirectional=True, num_buckets=8, max_distance=20
    )
    expected_HLM = jnp.moveaxis(bias.embedding[...][buckets], -1, 0)
    np.testing.assert_array_equal(jax.jit(lambda offset: bias(offset).array(6, 11))(3), expected_HLM)
    computed = bias(3).computed(6, 11)
    assert computed.array(6, 11) is computed.computed_HLM

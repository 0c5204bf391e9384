"""Bucketed relative positions (Raffel et al. 2020, section 2.1): a learned scalar per head and bucket."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig


@functools.cache
def _bucket_of_distance(num_buckets: int, max_distance: int) -> np.ndarray:
    """Return the bucket of every distance 0..max_distance in one direction.

    The first half of the buckets holds one distance each. The other ``large`` ones divide
    [exact, max_distance) evenly on a logarithmic scale: bucket ``exact + j`` starts at the smallest n
    with (n / exact)^large >= (max_distance / exact)^j. That is decided in integers, because T5's float32
    logarithm lands a hair below whole numbers at some boundaries.
    """
    exact = num_buckets // 2
    large = num_buckets - exact
    buckets = np.zeros(max_distance + 1, np.int32)
    for distance in range(max_distance + 1):
        if distance < exact:
            buckets[distance] = distance
            continue
        reached = sum(distance**large * exact**j >= max_distance**j * exact**large for j in range(1, large))
        buckets[distance] = exact + reached
    return buckets


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> jax.Array:
    """Return the int32 bucket of ``key position - query position``, elementwise.

    Bidirectional: the lower half of the buckets for keys at or before the query, the upper half for
    keys after it. Otherwise keys after the query share bucket 0 (the causal mask hides them).
    """
    directions = 2 if bidirectional else 1
    per_direction = num_buckets // directions
    table = jnp.asarray(_bucket_of_distance(per_direction, max_distance))
    distance = jnp.abs(relative_position) if bidirectional else jnp.maximum(-relative_position, 0)
    bucket = table[jnp.minimum(distance, max_distance)]
    if bidirectional:
        bucket += jnp.where(relative_position > 0, per_direction, 0)
    return bucket


class RelativePositionBias(nnx.Module):
    """One table a stack, shared by its self-attention layers; float32 whatever the compute dtype."""

    def __init__(self, config: EncoderDecoderConfig, *, bidirectional: bool, rngs: nnx.Rngs):
        initializer = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        shape = (config.relpos_buckets, config.num_heads)
        self.embedding = nnx.Param(
            initializer(rngs.params(), shape, jnp.dtype(config.param_dtype)),
            out_sharding=("relpos_buckets", "heads"),
        )
        self.bidirectional = bidirectional
        self.max_distance = config.relpos_max_distance

    def __call__(self, query_positions_L: jax.Array, key_positions_M: jax.Array) -> jax.Array:
        """Return ``bias_HLM`` to be added to the attention logits."""
        table_RH = self.embedding[...].astype(jnp.float32)
        bucket_LM = relative_position_bucket(
            key_positions_M[None, :] - query_positions_L[:, None],
            bidirectional=self.bidirectional,
            num_buckets=table_RH.shape[0],
            max_distance=self.max_distance,
        )
        # A product with one-hot rows rather than a lookup: its gradient is a matrix product too, where a
        # lookup's is a scatter of L * M rows. The highest precision makes it exactly the lookup on TPU.
        one_hot_LMR = jax.nn.one_hot(bucket_LM, table_RH.shape[0], dtype=jnp.float32)
        return jnp.einsum("LMR,RH->HLM", one_hot_LMR, table_RH, precision=jax.lax.Precision.HIGHEST)

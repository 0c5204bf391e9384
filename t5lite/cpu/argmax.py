"""Where the greatest number of a row is: what greedy search asks of the logits at every step."""

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import target_platform

_MOST = jnp.iinfo(jnp.int32).max


def argmax(x: jax.Array) -> jax.Array:
    """Return float32 ``jnp.argmax`` over the last axis, int32: the first of equals, or of what is no number.

    XLA:CPU looks for a number and its place together one number at a time, and even for the greatest alone,
    since what is no number has to come through. Integers in the same order have a greatest in a loop over
    vectors, and so has the first place where it stands: a tenth of the time (16 x 32,128).
    """
    if target_platform() != "cpu":
        return jnp.argmax(x, axis=-1).astype(jnp.int32)
    size, order = x.shape[-1], _in_order(x)
    is_greatest = order == jnp.max(order, axis=-1, keepdims=True)
    return jnp.min(jnp.where(is_greatest, jnp.arange(size, dtype=jnp.int32), size), axis=-1)


def _in_order(x: jax.Array) -> jax.Array:
    """Return int32 numbers that are in the order of ``x``, and equal where its are: no number is the most."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    order = jnp.where(bits < 0, bits ^ _MOST, bits)
    return jnp.where(x == 0, 0, jnp.where(jnp.isnan(x), _MOST, order))

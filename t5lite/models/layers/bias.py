"""A bias on the last axis of activations."""

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import target_platform


@jax.custom_vjp
def add_bias(x_BLN: jax.Array, bias_N: jax.Array) -> jax.Array:
    """Return ``x + bias`` in the dtype of ``x``; the gradient of the bias is summed in float32.

    XLA:CPU sums rows column by column, one element of each at a time: a fifth of a BERT step. There the
    gradient is a product with ones.
    """
    return x_BLN + bias_N.astype(x_BLN.dtype)[None, None, :]


def _forward(x_BLN: jax.Array, bias_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    return add_bias(x_BLN, bias_N), bias_N


def _backward(bias_N: jax.Array, y_bar_BLN: jax.Array) -> tuple[jax.Array, jax.Array]:
    if target_platform() == "cpu":
        ones_BL = jnp.ones(y_bar_BLN.shape[:2], y_bar_BLN.dtype)
        sum_N = jnp.einsum("BL,BLN->N", ones_BL, y_bar_BLN, preferred_element_type=jnp.float32)
    else:
        sum_N = jnp.sum(y_bar_BLN, axis=(0, 1), dtype=jnp.float32)
    return y_bar_BLN, sum_N.astype(bias_N.dtype)


add_bias.defvjp(_forward, _backward)

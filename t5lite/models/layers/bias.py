"""A bias on the last axis of activations."""

import jax
import jax.numpy as jnp

from t5lite.cpu import gradients


@jax.custom_vjp
def add_bias(x: jax.Array, bias_N: jax.Array) -> jax.Array:
    """Return ``x + bias`` in the dtype of ``x``; the gradient of the bias is summed in float32."""
    return x + jnp.expand_dims(bias_N.astype(x.dtype), range(x.ndim - 1))


add_bias.defvjp(lambda x, bias_N: (add_bias(x, bias_N), bias_N), gradients.of_bias)

"""A bias on the last axis of activations."""

import jax

from t5lite.cpu import gradients


@jax.custom_vjp
def add_bias(x_BLN: jax.Array, bias_N: jax.Array) -> jax.Array:
    """Return ``x + bias`` in the dtype of ``x``; the gradient of the bias is summed in float32."""
    return x_BLN + bias_N.astype(x_BLN.dtype)[None, None, :]


add_bias.defvjp(lambda x_BLN, bias_N: (add_bias(x_BLN, bias_N), bias_N), gradients.of_bias)

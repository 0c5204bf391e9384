"""A scale of each feature of activations."""

import jax

from t5lite.cpu import gradients


@jax.custom_vjp
def scale_features(x_BLD: jax.Array, scale_D: jax.Array) -> jax.Array:
    """Return ``x * scale``."""
    return x_BLD * scale_D[None, None, :]


scale_features.defvjp(
    lambda x_BLD, scale_D: (scale_features(x_BLD, scale_D), (x_BLD, scale_D)), gradients.of_scale
)

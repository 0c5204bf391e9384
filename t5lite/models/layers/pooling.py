"""One vector of a text: its hidden states pooled over its tokens (Reimers & Gurevych, 2019)."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from t5lite.models.config import Pooling

_LEAST_NORM = 1e-12
"""As PyTorch's ``normalize``: what is shorter is not made longer."""


def pooled(hidden_BLD: jax.Array, is_token_BL: jax.Array, pooling: Pooling) -> jax.Array:
    """Return float32 ``[B, D]``: the mean over a row's tokens, its first one or its last one.

    Args:
      hidden_BLD: of any dtype.
      is_token_BL: bool, which positions are of the text; a row without any has zeros.
      pooling: which.
    """
    weights_BL = _WEIGHTS[pooling](is_token_BL).astype(jnp.float32)
    # A product with weights would make NaN of padding that is not finite.
    kept_BLD = jnp.where(weights_BL[:, :, None] > 0, hidden_BLD.astype(jnp.float32), 0)
    return jnp.sum(kept_BLD, axis=1) / jnp.maximum(jnp.sum(weights_BL, axis=1, keepdims=True), 1)


def normalised(vectors_BD: jax.Array) -> jax.Array:
    """Return vectors of length 1, so that products are cosines; zeros stay zeros."""
    # Under the root, so that the gradient of zeros is no NaN.
    squares_B1 = jnp.sum(jnp.square(vectors_BD), axis=-1, keepdims=True)
    return vectors_BD * jax.lax.rsqrt(jnp.maximum(squares_B1, _LEAST_NORM**2))


def _first(is_token_BL: jax.Array) -> jax.Array:
    return is_token_BL & (jnp.cumsum(is_token_BL, axis=1) == 1)


def _last(is_token_BL: jax.Array) -> jax.Array:
    return _first(is_token_BL[:, ::-1])[:, ::-1]


_WEIGHTS: Mapping[Pooling, Callable[[jax.Array], jax.Array]] = {
    "mean": lambda is_token_BL: is_token_BL,
    "cls": _first,
    "last": _last,
}

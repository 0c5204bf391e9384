"""The greatest numbers of long rows, and where they are: what beam search asks of all its continuations."""

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import target_platform

_BLOCK = 128


def top_k(x_BN: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """Return ``jax.lax.top_k`` over the last axis: of equals, the first.

    XLA:CPU looks at every number of a row in turn. The greatest ``number`` lie in as many blocks at most,
    those with the greatest maxima, which are found in a loop over vectors: a quarter of the time (of each of
    16 x 128,512 the 8 greatest).
    """
    length = x_BN.shape[1]
    if target_platform() != "cpu" or length < 2 * number * _BLOCK:
        return jax.lax.top_k(x_BN, number)
    whole = length // _BLOCK * _BLOCK
    maxima = [jnp.max(x_BN[:, :whole].reshape(-1, whole // _BLOCK, _BLOCK), axis=-1)]
    if whole < length:
        maxima.append(jnp.max(x_BN[:, whole:], axis=-1, keepdims=True))
    blocks_BK = jax.lax.top_k(jnp.concatenate(maxima, axis=1), number)[1]
    # In the order of the row, so that equals are.
    first_BK1 = jnp.sort(blocks_BK, axis=1)[..., None] * _BLOCK
    places_BN = (first_BK1 + jnp.arange(_BLOCK)[None, None]).reshape(x_BN.shape[0], -1)
    found_BN = jnp.take_along_axis(x_BN, jnp.minimum(places_BN, length - 1), axis=1)
    best_BK, chosen_BK = jax.lax.top_k(jnp.where(places_BN < length, found_BN, -jnp.inf), number)
    return best_BK, jnp.take_along_axis(places_BN, chosen_BK, axis=1)

"""Functional dropout: a key in, no state."""

import jax


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Return ``x`` with entries dropped at ``rate`` and the rest scaled by 1 / (1 - rate).

    One mask serves all positions of axis -2 (the length of ``BLD``, the query length of ``BHLM``),
    as in T5X, which saves both random bits and memory. ``key=None`` means deterministic: no dropout.
    """
    if key is None or rate == 0.0:
        return x
    mask_shape = (*x.shape[:-2], 1, x.shape[-1])
    keep = jax.random.bernoulli(key, 1.0 - rate, mask_shape)
    return x * (keep.astype(x.dtype) / (1.0 - rate))


def split_or_none(key: jax.Array | None, num: int) -> list[jax.Array | None]:
    """Return ``num`` independent keys, or ``num`` times None when there is no key to split."""
    return [None] * num if key is None else list(jax.random.split(key, num))


def layer_keys(key: jax.Array | None, num_layers: int) -> jax.Array | None:
    """Return a key a layer, stacked so that ``lax.scan`` can hand them out, or None."""
    return None if key is None else jax.random.split(key, num_layers)

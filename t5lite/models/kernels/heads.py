"""How heads lie side by side in the columns of the kernels' arrays: blocks of them, and turns of queries.

A block of queries has one head for each head of keys in its block, in the same columns. Where query heads
share a head of keys, there are as many blocks of queries to a block of keys: the turns, side by side too.
"""

import jax
import jax.numpy as jnp

from t5lite.models.kernels.tiling import Tiling


def join_keys(x_BMGK: jax.Array, tiling: Tiling) -> jax.Array:
    """Return ``[B, M, C]`` of keys or values."""
    return _join(x_BMGK.reshape(*x_BMGK.shape[:2], -1, tiling.heads_per_block * tiling.head_dim), tiling)


def join_queries(x_BLHK: jax.Array, tiling: Tiling) -> jax.Array:
    """Return ``[B, L, C]`` of queries: all turns of the first block, then all of the second."""
    heads = (-1, tiling.heads_per_block, tiling.turns, tiling.head_dim)
    x_BLNUPK = x_BLHK.reshape(*x_BLHK.shape[:2], *heads).swapaxes(3, 4)
    return _join(x_BLNUPK.reshape(*x_BLHK.shape[:2], -1, tiling.heads_per_block * tiling.head_dim), tiling)


def separate_queries(x_BLC: jax.Array, tiling: Tiling) -> jax.Array:
    """Return ``[B, L, H, K]``: the inverse of ``join_queries``."""
    x_BLTPK = queries_by_block(x_BLC, tiling)
    batch, length, _, heads, head_dim = x_BLTPK.shape
    x_BLNUPK = x_BLTPK.reshape(batch, length, -1, tiling.turns, heads, head_dim)
    return x_BLNUPK.swapaxes(3, 4).reshape(batch, length, -1, head_dim)


def queries_by_block(x_BLC: jax.Array, tiling: Tiling) -> jax.Array:
    """Return ``[B, L, N * U, P, K]``."""
    x_BLTC = x_BLC.reshape(*x_BLC.shape[:2], -1, tiling.block_columns)
    x_BLTJ = x_BLTC[..., : tiling.heads_per_block * tiling.head_dim]
    return x_BLTJ.reshape(*x_BLTJ.shape[:3], tiling.heads_per_block, tiling.head_dim)


def diagonals_by_block(bias_HW: jax.Array, tiling: Tiling) -> jax.Array:
    """Return ``[N, U, P, W]``."""
    return bias_HW.reshape(-1, tiling.heads_per_block, tiling.turns, bias_HW.shape[1]).swapaxes(1, 2)


def _join(x_BLNJ: jax.Array, tiling: Tiling) -> jax.Array:
    padding = tiling.block_columns - x_BLNJ.shape[3]
    x_BLNC = jnp.pad(x_BLNJ, ((0, 0), (0, 0), (0, 0), (0, padding))) if padding else x_BLNJ
    return x_BLNC.reshape(*x_BLNC.shape[:2], -1)

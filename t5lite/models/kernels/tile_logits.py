"""What the forward and backward kernels share: their inputs, and one tile of masked logits.

Tiles are transposed, keys by queries: a query's maximum, sum and logsumexp are then rows, which reduce and
broadcast over registers without moving lanes. Suffixes: S keys of a tile, T queries of a tile, N blocks of
heads, U turns of queries, P heads of a block, C their columns, W lanes of diagonals; otherwise those of
``core/types.py``.
"""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from t5lite.models.kernels.diagonals import Diagonals, expand
from t5lite.models.kernels.tiling import LANES, Tiling
from t5lite.models.layers.attention_ops import Window

MASKED = float(jnp.finfo(jnp.float32).min) / 2
"""A hidden logit. Far below ``LOWEST_MAXIMUM``, so that its exponential is 0 in a row that sees nothing."""
LOWEST_MAXIMUM = -1e30
"""Where a query's running maximum starts."""
_SUBLANES = 8


class Inputs(NamedTuple):
    """Arrays of one call, padded to whole tiles; in a kernel, references to blocks of them."""

    q_BLC: Any
    """Columns are all turns of the first block of heads, then all of the second."""
    k_BMC: Any
    v_BMC: Any
    query_offset_1: Any
    """int32, position of the first query on the keys' axis; a multiple of 128 under a bias."""
    diagonals_NUPW: Any = None
    """Bias of every head at the relative positions of ``Diagonals``, or None."""
    query_ids_B1L: Any = None
    """int32 segments, or None for neither padding nor packing."""
    key_ids_B1M: Any = None
    """int32 segments; negative hides a key from all queries."""
    first_query_B1M: Any = None
    """int32 position of the first query that sees a key; of a causal mask with bidirectional keys."""


class Settings(NamedTuple):
    """What a kernel is compiled for."""

    tiling: Tiling
    band: Window
    """How many keys before and after its position a query may see; causal attention sees none after."""
    diagonals: Diagonals | None
    softcap: float | None
    query_offset: int | None
    """What ``Inputs`` has, where it is known when the kernel is compiled."""


def visible_tile(
    settings: Settings, query_tile: jax.Array, key_tile: jax.Array, inputs: Inputs
) -> jax.Array | None:
    """Return bool ``[S, T]``, or None when all keys are visible."""
    tiling, (before, after) = settings.tiling, settings.band
    shape = (tiling.key_tile, tiling.query_tile)
    query_ST = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    relative_ST = jax.lax.broadcasted_iota(jnp.int32, shape, 0) - query_ST
    first_query = query_tile * tiling.query_tile + inputs.query_offset_1[0]
    distance = key_tile * tiling.key_tile - first_query
    conditions = []
    if after is not None:
        conditions.append(relative_ST <= after - distance)
    if before is not None:
        conditions.append(relative_ST >= -before - distance)
    if inputs.first_query_B1M is not None:
        conditions.append(_as_column(inputs.first_query_B1M[0]) <= query_ST + first_query)
    if inputs.key_ids_B1M is not None:
        conditions.append(_as_column(inputs.key_ids_B1M[0]) == inputs.query_ids_B1L[0])
    return functools.reduce(operator.and_, conditions) if conditions else None


def diagonals_window(settings: Settings, query_tile: jax.Array, key_tile: jax.Array, inputs: Inputs) -> Any:
    """Return the lanes of the diagonals that a tile reads, as an index; None without a bias."""
    tiling, diagonals = settings.tiling, settings.diagonals
    if diagonals is None:
        return None
    first_query = query_tile * tiling.query_tile + inputs.query_offset_1[0]
    start = diagonals.start(key_tile * tiling.key_tile - first_query)
    return pl.ds(pl.multiple_of(start, LANES), diagonals.window)


class Logits(NamedTuple):
    """One head's tile of logits, float32 ``[S, T]``."""

    tile_ST: jax.Array
    """Capped, bias added, hidden keys ``MASKED``."""
    tanh_ST: jax.Array | None
    """Of the cap; None without one."""


def logits_tile(
    settings: Settings,
    inputs: Inputs,
    *,
    turn: jax.Array,
    head: int,
    q_TC: jax.Array,
    window: Any,
    visible_ST: Any,
) -> Logits:
    """Return the logits of one head of the block.

    Args:
      settings: of the kernel.
      inputs: blocks of this step.
      turn: of the queries.
      head: of the block.
      q_TC: queries in which the other heads' columns are 0.
      window: of the diagonals.
      visible_ST: from ``visible_tile``.
    """
    logits_ST, tanh_ST = product(inputs.k_BMC[0], q_TC, contract=(1, 1)), None
    if settings.softcap is not None:
        tanh_ST = jnp.tanh(logits_ST / settings.softcap)
        logits_ST = settings.softcap * tanh_ST
    if window is not None:
        tiling = settings.tiling
        row_1W = inputs.diagonals_NUPW[0, turn, head : head + 1, window]
        logits_ST += expand(row_1W, key_tile=tiling.key_tile, query_tile=tiling.query_tile)
    return Logits(logits_ST if visible_ST is None else jnp.where(visible_ST, logits_ST, MASKED), tanh_ST)


def only_head(x: jax.Array, head: int, tiling: Tiling) -> jax.Array:
    """Return ``[..., C]`` with 0 in the columns of the block's other heads.

    A product over all columns is then one head's. It costs no more than the head alone, which the matrix
    unit would pad to 128 columns, and needs no columns moved.
    """
    if tiling.heads_per_block == 1:
        return x
    column = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    start = head * tiling.head_dim
    return jnp.where((column >= start) & (column < start + tiling.head_dim), x, jnp.zeros_like(x))


def product(x: jax.Array, y: jax.Array, *, contract: tuple[int, int]) -> jax.Array:
    """Return the float32 matrix product over one dimension of each."""
    numbers = (((contract[0],), (contract[1],)), ((), ()))
    return jax.lax.dot_general(x, y, numbers, preferred_element_type=jnp.float32)


def _as_column(row_1S: jax.Array) -> jax.Array:
    """Return ``[S, 1]``. Mosaic transposes whole registers only."""
    return jnp.broadcast_to(row_1S, (_SUBLANES, row_1S.shape[1])).T[:, :1]

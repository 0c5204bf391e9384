"""Rotary positions on a TPU: heads are turned in one pass, as a product leaves them and attention takes them.

XLA cuts every head into halves, pads these to whole registers, copies them and joins them again: an eighth of
what a step of Llama 3.1 8B moves in main memory.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec

from t5lite.core.types import LogicalAxes
from t5lite.models.kernels.tiling import LANES
from t5lite.models.layers.position import Rotation
from t5lite.partitioning.rules import active_partitioner

_LONGEST_TILE = 512
_MOST_HEADS = 8
"""Of a block: with the longest tile 1 MiB of bfloat16, which takes longer to fetch than a step to begin."""


def rotate_columns(
    x_BLHK: jax.Array, rotation: Rotation, axes: LogicalAxes, *, interpret: bool = False
) -> jax.Array:
    """Return ``rotate`` of heads as wide as a register, each device turning its own.

    Args:
      x_BLHK: projected heads.
      rotation: of every position.
      axes: logical axes of ``x_BLHK``.
      interpret: run on any platform, slowly; for tests.
    """
    cos_BLK = jnp.concatenate([rotation.cos, rotation.cos], axis=-1)
    sin_BLK = jnp.concatenate([-rotation.sin, rotation.sin], axis=-1)

    def on_device(x_BLHK: jax.Array, cos_BLK: jax.Array, sin_BLK: jax.Array) -> jax.Array:
        x_BLC = x_BLHK.reshape(*x_BLHK.shape[:2], -1)
        turned_BLC: jax.Array = _turn(interpret, x_BLC, cos_BLK, sin_BLK)
        return turned_BLC.reshape(x_BLHK.shape)

    partitioner = active_partitioner()
    if partitioner is None or partitioner.mesh.size == 1:
        return on_device(x_BLHK, cos_BLK, sin_BLK)
    spec = partitioner.activation_spec(axes)
    positions = PartitionSpec(spec[0] if cos_BLK.shape[0] > 1 else None, spec[1])
    return jax.shard_map(
        on_device,
        mesh=partitioner.mesh,
        in_specs=(spec, positions, positions),
        out_specs=spec,
        check_vma=False,  # a kernel does not tell over which axes its results differ
    )(x_BLHK, cos_BLK, sin_BLK)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _turn(interpret: bool, x_BLC: jax.Array, cos_BLK: jax.Array, sin_BLK: jax.Array) -> jax.Array:
    """Return ``x * cos + (x with its halves swapped) * sin``, head by head."""
    batch, length, columns = x_BLC.shape
    heads = next(n for n in range(_MOST_HEADS, 0, -1) if columns // LANES % n == 0)
    tile = next(t for t in range(min(length, _LONGEST_TILE), 0, -LANES) if length % t == 0)
    rows = cos_BLK.shape[0] > 1
    block = pl.BlockSpec((1, tile, heads * LANES), lambda b, t, n: (b, t, n))
    turns = pl.BlockSpec((1, tile, LANES), lambda b, t, n: (b if rows else 0, t, 0))
    moved = 2 * x_BLC.size * x_BLC.dtype.itemsize + (cos_BLK.size + sin_BLK.size) * cos_BLK.dtype.itemsize
    return pl.pallas_call(
        functools.partial(_kernel, heads=heads),
        out_shape=jax.ShapeDtypeStruct(x_BLC.shape, x_BLC.dtype),
        grid=(batch, length // tile, columns // (heads * LANES)),
        in_specs=(block, turns, turns),
        out_specs=block,
        compiler_params=pltpu.CompilerParams(dimension_semantics=(pltpu.PARALLEL,) * 3),
        cost_estimate=pl.CostEstimate(flops=0, transcendentals=0, bytes_accessed=moved),
        interpret=interpret,
        name="rotary",
    )(x_BLC, cos_BLK, sin_BLK)


def _turn_forward(interpret: bool, x_BLC: jax.Array, cos_BLK: jax.Array, sin_BLK: jax.Array) -> Any:
    return _turn(interpret, x_BLC, cos_BLK, sin_BLK), (cos_BLK, sin_BLK)


def _turn_backward(interpret: bool, turns: Any, dout_BLC: jax.Array) -> Any:
    cos_BLK, sin_BLK = turns
    return _turn(interpret, dout_BLC, cos_BLK, -sin_BLK), None, None


_turn.defvjp(_turn_forward, _turn_backward)


def _kernel(x_BTC: Any, cos_BTK: Any, sin_BTK: Any, out_BTC: Any, *, heads: int) -> None:
    cos_TK, sin_TK = cos_BTK[0], sin_BTK[0]
    for head in range(heads):
        columns = slice(head * LANES, (head + 1) * LANES)
        x_TK = x_BTC[0, :, columns].astype(jnp.float32)
        turned_TK = x_TK * cos_TK + pltpu.roll(x_TK, LANES // 2, 1) * sin_TK
        out_BTC[0, :, columns] = turned_TK.astype(out_BTC.dtype)

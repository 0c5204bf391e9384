"""Which block of every array a step of the kernels sees, and what all steps together cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from t5lite.core.types import Tree
from t5lite.models.kernels.tile_logits import Inputs, Settings

_DEFAULT_VMEM = 16 * 2**20
"""Bytes of vector memory that a kernel gets unless it asks for more."""
_TILES_VMEM = 14 * 2**20
"""Bytes for the blocks, twice each, and for the values of one step."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of the grid (block of heads N, batch row B, outer tiles, inner tiles).

    What belongs to the outer tile stays on the chip while the inner tiles come and go. A block that is asked
    for twice in a row is not fetched again: causal attention names the same one while tiles are skipped.
    """

    settings: Settings
    outer: Literal["query", "key"]
    skips: bool
    """Whether tiles above the diagonal are skipped."""

    @classmethod
    def of(cls, inputs: Inputs, settings: Settings, outer: Literal["query", "key"]) -> "Blocks":
        """Return the blocks for these inputs."""
        return cls(settings, outer, settings.causal and inputs.first_query_B1M is None)

    def columns(self, tile: Literal["query", "key"]) -> pl.BlockSpec:
        """Return the block ``[1, T or S, C]`` of queries or keys."""
        tiling = self.settings.tiling
        size = tiling.query_tile if tile == "query" else tiling.key_tile
        shape = (1, size, tiling.block_columns)
        return self._spec(shape, lambda n, b, i, j: (b, i if tile == "query" else j, n))

    def on_the_last_key_tile(self) -> pl.BlockSpec:
        """Return the block ``[1, T, C]`` of an output by query that is complete with the last key tile.

        Until then it is the first query tile's, which is neither written to nor stored: a block is stored
        when the next one is another.
        """
        tiling = self.settings.tiling
        assert self.outer == "key", "a sum over inner tiles is complete with every outer tile"

        def index(n: Any, b: Any, key_tile: Any, query_tile: Any, _: Any) -> tuple[Any, ...]:
            return b, jnp.where(key_tile == tiling.num_key_tiles - 1, query_tile, 0), n

        return pl.BlockSpec((1, tiling.query_tile, tiling.block_columns), index)

    def ids(self, tile: Literal["query", "key"]) -> pl.BlockSpec:
        """Return the block ``[1, 1, T or S]`` of a number a position."""
        tiling = self.settings.tiling
        size = tiling.query_tile if tile == "query" else tiling.key_tile
        return self._spec((1, 1, size), lambda n, b, i, j: (b, 0, i if tile == "query" else j))

    def rows(self) -> pl.BlockSpec:
        """Return the block ``[1, 1, P, T]`` of a number a head and query."""
        tiling = self.settings.tiling
        return self._spec((1, 1, tiling.heads_per_block, tiling.query_tile), lambda n, b, i, j: (n, b, 0, i))

    def diagonals(self) -> pl.BlockSpec:
        """Return the block ``[1, P, W]`` of the bias, the same for all tiles and batch rows."""
        diagonals = self.settings.diagonals
        assert diagonals is not None
        shape = (1, self.settings.tiling.heads_per_block, diagonals.width)
        return self._spec(shape, lambda n, b, i, j: (n, 0, 0))

    def inputs(self, inputs: Inputs) -> Inputs:
        """Return a block for each input that there is; the query offset is no block."""
        return Inputs(
            q_BLC=self.columns("query"),
            k_BMC=self.columns("key"),
            v_BMC=self.columns("key"),
            query_offset_1=None,
            diagonals_NPW=None if inputs.diagonals_NPW is None else self.diagonals(),
            query_ids_B1L=None if inputs.query_ids_B1L is None else self.ids("query"),
            key_ids_B1M=None if inputs.key_ids_B1M is None else self.ids("key"),
            first_query_B1M=None if inputs.first_query_B1M is None else self.ids("key"),
        )

    def grid(self, inputs: Inputs) -> tuple[int, int, int, int]:
        """Return the sizes of the grid."""
        tiling = self.settings.tiling
        batch, _, columns = inputs.q_BLC.shape
        outer, inner = tiling.num_query_tiles, tiling.num_key_tiles
        if self.outer == "key":
            outer, inner = inner, outer
        return columns // tiling.block_columns, batch, outer, inner

    def grid_spec(
        self, inputs: Inputs, *, extra_specs: tuple[Any, ...] = (), out_specs: Any, scratch: tuple[Any, ...]
    ) -> pltpu.PrefetchScalarGridSpec:
        """Return the grid of a kernel that takes the query offset, inputs, extra ones, outputs, scratch."""
        return pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=self.grid(inputs),
            in_specs=(self.inputs(inputs), *extra_specs),
            out_specs=out_specs,
            scratch_shapes=scratch,
        )

    @property
    def computed_fraction(self) -> float:
        """The part of the tiles that is computed, for queries that start where the keys do."""
        tiling = self.settings.tiling
        if not self.skips:
            return 1.0
        ends = ((i + 1) * tiling.query_tile for i in range(tiling.num_query_tiles))
        computed = sum(min(-(-end // tiling.key_tile), tiling.num_key_tiles) for end in ends)
        return computed / (tiling.num_query_tiles * tiling.num_key_tiles)

    def step(self) -> tuple[jax.Array, jax.Array]:
        """Return the numbers of the query and the key tile, in a kernel."""
        outer, inner = pl.program_id(2), pl.program_id(3)
        return (outer, inner) if self.outer == "query" else (inner, outer)

    def _spec(self, shape: tuple[int, ...], place: Callable[..., tuple[Any, ...]]) -> pl.BlockSpec:
        def index(n: Any, b: Any, outer: Any, inner: Any, offset_1: Any) -> tuple[Any, ...]:
            if self.outer == "query":
                return place(n, b, outer, self._last_key_tile(outer, inner, offset_1))
            return place(n, b, self._first_query_tile(inner, outer, offset_1), outer)

        return pl.BlockSpec(shape, index)

    def _last_key_tile(self, query_tile: Any, key_tile: Any, offset_1: Any) -> Any:
        """Return the key tile, or the last one that the queries see."""
        if not self.skips:
            return key_tile
        tiling = self.settings.tiling
        last = (query_tile + 1) * tiling.query_tile + offset_1[0] - 1
        return jnp.minimum(key_tile, _floor_divide(last, tiling.key_tile))

    def _first_query_tile(self, query_tile: Any, key_tile: Any, offset_1: Any) -> Any:
        """Return the query tile, or the first one that sees the keys."""
        if not self.skips:
            return query_tile
        tiling = self.settings.tiling
        first = _floor_divide(jnp.maximum(key_tile * tiling.key_tile - offset_1[0], 0), tiling.query_tile)
        return jnp.maximum(query_tile, jnp.minimum(first, tiling.num_query_tiles - 1))


def _floor_divide(dividend: jax.Array, divisor: int) -> jax.Array:
    """Return the quotient of what is not negative; for ``//``, Mosaic must know the chip it compiles for."""
    return jax.lax.div(dividend, jnp.int32(divisor))


def compiler_params(scratch: tuple[Any, ...], *, parallel_dimensions: int) -> pltpu.CompilerParams:
    """Return how Mosaic compiles a kernel whose first grid dimensions may run in any order."""
    semantics = (pltpu.PARALLEL,) * parallel_dimensions + (pltpu.ARBITRARY,) * (4 - parallel_dimensions)
    scratch_bytes = sum(math.prod(each.shape) * jnp.dtype(each.dtype).itemsize for each in scratch)
    return pltpu.CompilerParams(
        dimension_semantics=semantics, vmem_limit_bytes=max(_DEFAULT_VMEM, _TILES_VMEM + scratch_bytes)
    )


def cost(
    blocks: Blocks, inputs: Inputs, *, query_side: Tree, key_side: Tree, num_products: int
) -> pl.CostEstimate:
    """Return what a kernel computes and moves; XLA's own analysis cannot look into it.

    Args:
      blocks: of the grid.
      inputs: of attention.
      query_side: all that is read or written by query tile.
      key_side: all that is read or written by key tile.
      num_products: matrix products with both lengths and the head's width.
    """
    tiling = blocks.settings.tiling
    batch, _, columns = inputs.q_BLC.shape
    logits_per_column = batch * tiling.query_length * tiling.key_length * blocks.computed_fraction
    # The inner side comes once for every outer tile, unless it is one tile, which stays.
    query_times = key_times = 1.0
    if blocks.outer == "query" and tiling.num_key_tiles > 1:
        key_times = tiling.num_query_tiles * blocks.computed_fraction
    if blocks.outer == "key" and tiling.num_query_tiles > 1:
        query_times = tiling.num_key_tiles * blocks.computed_fraction
    return pl.CostEstimate(
        flops=int(2 * num_products * columns * logits_per_column),
        transcendentals=int(columns // tiling.head_dim * logits_per_column),
        bytes_accessed=int(query_times * _num_bytes(query_side) + key_times * _num_bytes(key_side)),
    )


def _num_bytes(tree: Tree) -> int:
    return sum(math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))

"""Which block of every array a step of the kernels sees, and what all steps together cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from t5lite.core.types import Tree
from t5lite.models.kernels.tile_logits import Inputs, Settings
from t5lite.models.kernels.walk import Walk

_DEFAULT_VMEM = 16 * 2**20
"""Bytes of vector memory that a kernel gets unless it asks for more."""
_TILES_VMEM = 14 * 2**20
"""Bytes for the blocks, twice each, and for the values of one step."""
_GRID_DIMENSIONS = 5

Side = Literal["query", "key"]


class Step(NamedTuple):
    """Where a kernel is."""

    turn: jax.Array
    """Of the query heads that share a head of keys."""
    query_tile: jax.Array
    key_tile: jax.Array
    meets: jax.Array
    """Whether any key of the tile may be seen by its queries; where not, the inner tile may not exist."""
    is_first: jax.Array
    """Of the steps of an outer tile."""
    is_last: jax.Array


@dataclass(frozen=True)
class Blocks:
    """Blocks of the grid (block of heads N, batch row B, turn U, outer tiles, steps over inner tiles).

    What belongs to the outer tile stays on the chip while the inner tiles come and go. A block that is asked
    for twice in a row is not fetched again: a step beyond the last inner tile names that one.
    """

    settings: Settings
    outer: Side

    @property
    def walk(self) -> Walk:
        """The tiles that are visited."""
        tiling, (before, after) = self.settings.tiling, self.settings.band
        queries, keys = (tiling.query_tile, tiling.num_query_tiles), (tiling.key_tile, tiling.num_key_tiles)
        if self.outer == "query":
            return Walk(*queries, *keys, back=before, ahead=after)
        return Walk(*keys, *queries, back=after, ahead=before)

    def shift(self, query_offset: Any) -> Any:
        """Return the inner position of the first outer one."""
        return query_offset if self.outer == "query" else -query_offset

    @property
    def num_steps(self) -> int:
        """Steps of an outer tile."""
        offset = self.settings.query_offset
        return self.walk.num_steps(None if offset is None else self.shift(offset))

    def columns(self, side: Side) -> pl.BlockSpec:
        """Return the block ``[1, T or S, C]`` of queries or keys."""
        tiling = self.settings.tiling
        if side == "key":
            return self._spec((1, tiling.key_tile, tiling.block_columns), lambda n, b, u, q, k: (b, k, n))
        shape = (1, tiling.query_tile, tiling.block_columns)
        return self._spec(shape, lambda n, b, u, q, k: (b, q, n * tiling.turns + u))

    def query_gradient(self) -> pl.BlockSpec:
        """Return the block ``[1, T, C]`` of an output by query that is finished with its last key tile.

        A block is stored when the next one is another. So it stays the one that was finished last, and before
        that the first one, until the next is finished.
        """
        tiling, walk = self.settings.tiling, self.walk
        assert self.outer == "key", "a sum over inner tiles is finished with every outer tile"

        def index(n: Any, b: Any, u: Any, key_tile: Any, step: Any, offset_1: Any) -> tuple[Any, ...]:
            shift = self.shift(offset_1[0])
            query_tile = walk.first(key_tile, shift) + step
            finished = walk.num_finished(key_tile, shift) - 1
            return b, jnp.maximum(jnp.minimum(query_tile, finished), 0), n * tiling.turns + u

        return pl.BlockSpec((1, tiling.query_tile, tiling.block_columns), index)

    def key_gradient(self) -> pl.BlockSpec:
        """Return the block ``[1, S, C]`` of an output by key that is finished with the last turn."""
        tiling = self.settings.tiling

        def place(n: Any, b: Any, u: Any, _: Any, key_tile: Any) -> tuple[Any, ...]:
            return b, jnp.where(u == tiling.turns - 1, key_tile, 0), n

        return self._spec((1, tiling.key_tile, tiling.block_columns), place)

    def ids(self, side: Side) -> pl.BlockSpec:
        """Return the block ``[1, 1, T or S]`` of a number a position."""
        tiling = self.settings.tiling
        if side == "key":
            return self._spec((1, 1, tiling.key_tile), lambda n, b, u, q, k: (b, 0, k))
        return self._spec((1, 1, tiling.query_tile), lambda n, b, u, q, k: (b, 0, q))

    def rows(self) -> pl.BlockSpec:
        """Return the block ``[1, 1, P, T]`` of a number a head and query."""
        tiling = self.settings.tiling
        shape = (1, 1, tiling.heads_per_block, tiling.query_tile)
        return self._spec(shape, lambda n, b, u, q, k: (n * tiling.turns + u, b, 0, q))

    def diagonals(self) -> pl.BlockSpec:
        """Return the block ``[1, U, P, W]`` of the bias, the same for all tiles, turns and batch rows."""
        diagonals, tiling = self.settings.diagonals, self.settings.tiling
        assert diagonals is not None
        shape = (1, tiling.turns, tiling.heads_per_block, diagonals.width)
        return self._spec(shape, lambda n, b, u, q, k: (n, 0, 0, 0))

    def inputs(self, inputs: Inputs) -> Inputs:
        """Return a block for each input that there is; the query offset is no block."""
        return Inputs(
            q_BLC=self.columns("query"),
            k_BMC=self.columns("key"),
            v_BMC=self.columns("key"),
            query_offset_1=None,
            diagonals_NUPW=None if inputs.diagonals_NUPW is None else self.diagonals(),
            query_ids_B1L=None if inputs.query_ids_B1L is None else self.ids("query"),
            key_ids_B1M=None if inputs.key_ids_B1M is None else self.ids("key"),
            first_query_B1M=None if inputs.first_query_B1M is None else self.ids("key"),
        )

    def grid_spec(
        self, inputs: Inputs, *, extra_specs: tuple[Any, ...] = (), out_specs: Any, scratch: tuple[Any, ...]
    ) -> pltpu.PrefetchScalarGridSpec:
        """Return the grid of a kernel that takes the query offset, inputs, extra ones, outputs, scratch."""
        tiling = self.settings.tiling
        batch, _, columns = inputs.k_BMC.shape
        num_blocks = columns // tiling.block_columns
        return pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(num_blocks, batch, tiling.turns, self.walk.num_outer, self.num_steps),
            in_specs=(self.inputs(inputs), *extra_specs),
            out_specs=out_specs,
            scratch_shapes=scratch,
        )

    def step(self, query_offset_1: Any) -> Step:
        """Return where the kernel is."""
        turn, outer, step = (pl.program_id(dimension) for dimension in (2, 3, 4))
        walk, shift = self.walk, self.shift(query_offset_1[0])
        inner = walk.first(outer, shift) + step
        query_tile, key_tile = (outer, inner) if self.outer == "query" else (inner, outer)
        meets = inner <= walk.last(outer, shift)
        return Step(turn, query_tile, key_tile, meets, step == 0, step == self.num_steps - 1)

    def _spec(self, shape: tuple[int, ...], place: Callable[..., tuple[Any, ...]]) -> pl.BlockSpec:
        walk = self.walk

        def index(n: Any, b: Any, u: Any, outer: Any, step: Any, offset_1: Any) -> tuple[Any, ...]:
            shift = self.shift(offset_1[0])
            inner = jnp.minimum(walk.first(outer, shift) + step, walk.last(outer, shift))
            inner = jnp.clip(inner, 0, walk.num_inner - 1)
            tiles = (outer, inner) if self.outer == "query" else (inner, outer)
            return place(n, b, u, *tiles)

        return pl.BlockSpec(shape, index)


def compiler_params(scratch: tuple[Any, ...], *, parallel_dimensions: int) -> pltpu.CompilerParams:
    """Return how Mosaic compiles a kernel whose first grid dimensions may run in any order."""
    in_turn = _GRID_DIMENSIONS - parallel_dimensions
    semantics = (pltpu.PARALLEL,) * parallel_dimensions + (pltpu.ARBITRARY,) * in_turn
    scratch_bytes = sum(math.prod(each.shape) * jnp.dtype(each.dtype).itemsize for each in scratch)
    return pltpu.CompilerParams(
        dimension_semantics=semantics, vmem_limit_bytes=max(_DEFAULT_VMEM, _TILES_VMEM + scratch_bytes)
    )


def cost(
    blocks: Blocks, inputs: Inputs, *, query_side: Tree, key_side: Tree, results: Tree, num_products: int
) -> pl.CostEstimate:
    """Return what a kernel computes and moves; XLA's own analysis cannot look into it.

    Args:
      blocks: of the grid.
      inputs: of attention.
      query_side: all that is read by query tile.
      key_side: all that is read by key tile.
      results: all that is written, once.
      num_products: matrix products with both lengths and the head's width.
    """
    settings, tiling, walk = blocks.settings, blocks.settings.tiling, blocks.walk
    batch, _, columns = inputs.q_BLC.shape
    offset = settings.query_offset
    if (
        offset is None
    ):  # queries are divided over devices, which all wait for the one whose last ones see most
        offset = tiling.key_length - tiling.query_length
    visits = int(walk.counts(blocks.shift(offset)).sum())
    logits_per_column = batch * visits * tiling.query_tile * tiling.key_tile
    exponentials = columns // tiling.block_columns * tiling.heads_per_block * logits_per_column

    def times(side: Side) -> float:
        """How often a side is read: for every outer tile and turn, unless it is one tile, which stays."""
        if (tiling.num_query_tiles if side == "query" else tiling.num_key_tiles) == 1:
            return 1.0
        turns = tiling.turns if side == "key" else 1
        return turns * (1.0 if side == blocks.outer else visits / walk.num_inner)

    return pl.CostEstimate(
        flops=2 * num_products * columns * logits_per_column,
        transcendentals=exponentials * (1 if settings.softcap is None else 2),
        bytes_accessed=int(
            times("query") * _num_bytes(query_side)
            + times("key") * _num_bytes(key_side)
            + _num_bytes(results)
        ),
    )


def _num_bytes(tree: Tree) -> int:
    return sum(math.prod(leaf.shape) * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))

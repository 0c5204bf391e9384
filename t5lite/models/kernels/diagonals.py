"""A bias that depends on ``key position - query position`` alone, without an array of both lengths.

Such a tile of logits is constant along its diagonals (a Toeplitz matrix). It is held as one number a
diagonal. In the kernel, a tile's row i is that row of numbers rotated by i lanes, which a TPU's cross-lane
unit does for all rows of a register at once, and the rows 128 further on are the same registers read
elsewhere; the gradient rotates back and adds the rows up. Buckets stay outside: the row of numbers is looked
up in the table by XLA, O(1) in the lengths, and autodiff turns its gradient into the table's. The
alternative, computing bucket numbers in the kernel and selecting among 32 entries of the table, would cost
more vector instructions than the softmax.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu

from t5lite.models.kernels.tiling import LANES, round_up

_SUBLANES = 8


@dataclass(frozen=True)
class Diagonals:
    """Which relative positions the row of numbers holds, one a lane, falling from left to right.

    From ``reach`` tokens on the bias no longer changes. A tile that is farther away than that reads the
    row's end, so the row is as long as two tiles and twice the reach, whatever the sequences' lengths.
    """

    query_tile: int
    key_tile: int
    reach: int

    @property
    def window(self) -> int:
        """Lanes that one tile reads."""
        return self.query_tile + self.key_tile

    @property
    def width(self) -> int:
        """Lanes of the row."""
        return self._highest + self._lowest + self.window

    @property
    def relative_positions(self) -> jax.Array:
        """Key position - query position of every lane, int32 ``[width]``."""
        return self._highest + self.key_tile - jnp.arange(self.width, dtype=jnp.int32)

    def start(self, tile_distance: jax.Array) -> jax.Array:
        """Return the first lane for a tile: whole registers if the distance is.

        Args:
          tile_distance: position of the tile's first key minus that of its first query.
        """
        return jnp.clip(self._highest - tile_distance, 0, self._highest + self._lowest)

    @property
    def _highest(self) -> int:
        """Distance of a tile all of whose keys are ``reach`` or more after all of its queries."""
        return round_up(self.reach + self.query_tile, LANES)

    @property
    def _lowest(self) -> int:
        return round_up(self.reach + self.key_tile, LANES)


def expand(row_1W: jax.Array, *, key_tile: int, query_tile: int) -> jax.Array:
    """Return the tile ``[keys, queries]`` of a window of diagonals ``[1, key_tile + query_tile]``.

    Entry (s, t) is lane ``key_tile - s + t``.
    """
    rotated = pltpu.roll(
        jnp.broadcast_to(row_1W, (LANES, row_1W.shape[1])), 0, axis=1, stride=1, stride_axis=0
    )
    starts = range(key_tile, 0, -LANES)
    return jnp.concatenate([rotated[:, start : start + query_tile] for start in starts], axis=0)


def collapse(tile_ST: jax.Array) -> jax.Array:
    """Return the sums along the diagonals, ``[1, keys + queries]``: the transpose of ``expand``."""
    num_rows, num_columns = (size // LANES for size in tile_ST.shape)
    sums = [jnp.zeros((LANES, LANES), tile_ST.dtype)] * (num_rows + num_columns)
    for row in range(num_rows):
        for column in range(num_columns):
            block = tile_ST[row * LANES : (row + 1) * LANES, column * LANES : (column + 1) * LANES]
            sums[num_rows - row + column] += block
    return _add_rotated_rows(jnp.concatenate(sums, axis=1))


def _add_rotated_rows(rows: jax.Array) -> jax.Array:
    """Return the sum of all rows, row i rotated i lanes to the left, as one row.

    Halving adds the lower half, rotated by its distance, to the upper one: log2 steps of whole registers.
    Mosaic has a rotation that grows with the row to the right only.
    """
    width, half = rows.shape[1], rows.shape[0] // 2
    while half >= _SUBLANES:
        rows = rows[:half] + pltpu.roll(rows[half:], width - half, axis=1)
        half //= 2
    while half:
        lower = pltpu.roll(rows, _SUBLANES - half, axis=0)
        rows = rows + pltpu.roll(lower, width - half, axis=1)
        half //= 2
    return rows[:1]

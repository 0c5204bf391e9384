"""How attention is cut into tiles for a TPU: lengths into tiles, heads into blocks of whole lanes."""

from dataclasses import dataclass

LANES = 128
"""Width of a TPU vector register; arrays in its memory are padded to it."""
_LONGEST_TILE = 512
"""A float32 tile of logits is then 1 MiB, of a vector memory of at least 16 MiB by default."""
_WIDEST_BLOCK = 512
"""Columns of queries, keys and values that one step of the kernel may hold."""


@dataclass(frozen=True)
class Tiling:
    """Sizes of one kernel call; lengths are padded to whole tiles."""

    query_tile: int
    key_tile: int
    num_query_tiles: int
    num_key_tiles: int
    heads_per_block: int
    """Heads of keys that a block holds; of queries, one that each of them serves."""
    head_dim: int
    turns: int = 1
    """Query heads that share a head of keys: the blocks of queries that meet a block of keys in turn."""

    @property
    def block_columns(self) -> int:
        """Columns of a block of heads, head after head; whole registers where queries take turns."""
        columns = self.heads_per_block * self.head_dim
        return columns if self.turns == 1 else round_up(columns, LANES)

    @property
    def query_length(self) -> int:
        """Padded length of the queries."""
        return self.query_tile * self.num_query_tiles

    @property
    def key_length(self) -> int:
        """Padded length of the keys."""
        return self.key_tile * self.num_key_tiles

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the float32 gradients of whole lengths that the backward kernel holds."""
        keys = 2 * self.key_length if self.turns > 1 else 0
        return 4 * self.block_columns * (self.query_length + keys)


def heads_per_block(num_heads: int, head_dim: int) -> int | None:
    """Return how many heads one block holds, or None if no number fits.

    A head of 64 columns alone would leave half of every register, and of its place in main memory, empty.
    So neighbouring heads share a block of whole registers where the number of heads allows it; all heads
    together may have any width.
    """
    for heads in range(1, num_heads + 1):
        whole = heads * head_dim % LANES == 0 or heads == num_heads
        if num_heads % heads == 0 and whole and heads * head_dim <= _WIDEST_BLOCK:
            return heads
    return None


def make_tiling(
    query_length: int, key_length: int, num_heads: int, head_dim: int, *, turns: int = 1
) -> Tiling:
    """Return the tiling of one call.

    Args:
      query_length: of the queries.
      key_length: of the keys.
      num_heads: of keys.
      head_dim: columns of each.
      turns: query heads that share one.

    Raises:
      ValueError: if the heads fit no block (``heads_per_block`` tells before).
    """
    heads = heads_per_block(num_heads, head_dim)
    if heads is None:
        raise ValueError(f"{num_heads} heads of {head_dim} columns do not fit in blocks of whole registers")
    query_tile, num_query_tiles = _tiles(query_length)
    key_tile, num_key_tiles = _tiles(key_length)
    return Tiling(query_tile, key_tile, num_query_tiles, num_key_tiles, heads, head_dim, turns)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below ``value``."""
    return -(-value // multiple) * multiple


def _tiles(length: int) -> tuple[int, int]:
    """Return the size and number of the fewest tiles, all of one size and hardly longer than needed."""
    number = -(-length // _LONGEST_TILE)
    return round_up(-(-length // number), LANES), number

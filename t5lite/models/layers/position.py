"""How a model knows where a token stands: T5's relative bias, learned and sinusoidal tables, rotation."""

import functools
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5lite.models.config import RelativePositions, RotaryPositions, XavierInitializer
from t5lite.models.layers.making import Making


@functools.cache
def _bucket_of_distance(num_buckets: int, max_distance: int) -> np.ndarray:
    """Return the bucket of every distance 0..max_distance in one direction.

    The first half of the buckets holds one distance each. The other ``large`` ones divide
    [exact, max_distance) evenly on a logarithmic scale: bucket ``exact + j`` starts at the smallest n
    with (n / exact)^large >= (max_distance / exact)^j. That is decided in integers, because T5's float32
    logarithm lands a hair below whole numbers at some boundaries.
    """
    exact = num_buckets // 2
    large = num_buckets - exact
    buckets = np.zeros(max_distance + 1, np.int32)
    for distance in range(max_distance + 1):
        if distance < exact:
            buckets[distance] = distance
            continue
        reached = sum(distance**large * exact**j >= max_distance**j * exact**large for j in range(1, large))
        buckets[distance] = exact + reached
    return buckets


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> jax.Array:
    """Return the int32 bucket of ``key position - query position``, elementwise.

    Bidirectional: the lower half of the buckets for keys at or before the query, the upper half for
    keys after it. Otherwise keys after the query share bucket 0 (the causal mask hides them).
    """
    directions = 2 if bidirectional else 1
    per_direction = num_buckets // directions
    table = jnp.asarray(_bucket_of_distance(per_direction, max_distance))
    distance = jnp.abs(relative_position) if bidirectional else jnp.maximum(-relative_position, 0)
    bucket = table[jnp.minimum(distance, max_distance)]
    if bidirectional:
        bucket += jnp.where(relative_position > 0, per_direction, 0)
    return bucket


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RelativeBias:
    """The bias of attention logits as a description, which only an op turns into an array (or never does)."""

    table_RH: jax.Array
    """float32, a number a bucket and head."""
    bidirectional: bool = field(metadata={"static": True})
    max_distance: int = field(metadata={"static": True})
    """Distance in tokens from which the bias no longer changes."""
    query_offset: jax.Array | int = 0
    """Position of the first query on the keys' axis."""
    num_texts: int = field(default=1, metadata={"static": True})
    """So many queries stand at one position, and so many keys at a place (``AttentionMask.writers_BLM``)."""
    computed_HLM: jax.Array | None = None
    """What ``array`` returns, once it is ``computed``."""

    def at(self, relative_position: jax.Array) -> jax.Array:
        """Return float32 ``[H, ...]`` for int32 key position - query position of any shape."""
        bucket = relative_position_bucket(
            relative_position,
            bidirectional=self.bidirectional,
            num_buckets=self.table_RH.shape[0],
            max_distance=self.max_distance,
        )
        # A product with one-hot rows rather than a lookup: its gradient is a matrix product too, where a
        # lookup's is a scatter of L * M rows. The highest precision makes it exactly the lookup on TPU.
        one_hot = jax.nn.one_hot(bucket, self.table_RH.shape[0], dtype=jnp.float32)
        return jnp.einsum("...R,RH->H...", one_hot, self.table_RH, precision=jax.lax.Precision.HIGHEST)

    def array(self, query_length: int, key_length: int) -> jax.Array:
        """Return ``bias_HLM``, to be added to the logits."""
        if self.computed_HLM is not None:
            return self.computed_HLM
        if self.num_texts > 1:
            places_M = jnp.arange(key_length // self.num_texts, dtype=jnp.int32)
            return jnp.repeat(self.at(places_M[None, :] - self.query_offset), self.num_texts, axis=-1)
        queries_L = jnp.arange(query_length, dtype=jnp.int32) + self.query_offset
        return self.at(jnp.arange(key_length, dtype=jnp.int32)[None, :] - queries_L[:, None])

    def computed(self, query_length: int, key_length: int) -> "RelativeBias":
        """Return the same with its array, for layers that share it."""
        return replace(self, computed_HLM=self.array(query_length, key_length))


class RelativePositionBias(nnx.Module):
    """A learned scalar per head and bucket (Raffel et al. 2020, section 2.1); float32 whatever else is.

    One table serves the self-attention layers of a stack, or each layer has its own (umT5).
    """

    def __init__(self, kind: RelativePositions, num_heads: int, making: Making, *, bidirectional: bool):
        initializer = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        shape, dtype = (kind.num_buckets, num_heads), jnp.dtype(making.execution.param_dtype)
        values, axes = initializer(making.rngs.params(), shape, dtype), ("relpos_buckets", "heads")
        if making.growing is not None:
            # It starts as large as at the size that rates are of, whatever fan_avg says.
            values /= making.growing.by_itself("dense", shape, axes, scheme=XavierInitializer(), num_layers=1)
        self.embedding = nnx.Param(values, out_sharding=axes)
        self.bidirectional = bidirectional
        self.max_distance = kind.max_distance

    def __call__(self, query_offset: jax.Array | int = 0, num_texts: int = 1) -> RelativeBias:
        """Return the bias of queries whose first one has this position on the keys' axis."""
        table_RH = self.embedding[...].astype(jnp.float32)
        return RelativeBias(table_RH, self.bidirectional, self.max_distance, query_offset, num_texts)


def positions_in_segments(segment_ids_BL: jax.Array | None, length: int) -> jax.Array:
    """Return the position of every token in its own segment, int32 ``[B or 1, L]``, from 0.

    A packed row then equals its parts alone, whatever kind the positions are.
    """
    index_1L = jnp.arange(length, dtype=jnp.int32)[None, :]
    if segment_ids_BL is None:
        return index_1L
    starts_BL = jnp.diff(segment_ids_BL, axis=1, prepend=segment_ids_BL[:, :1]) != 0
    first_BL = jax.lax.cummax(jnp.where(starts_BL, index_1L, 0), axis=1)
    return index_1L - first_BL


class PositionTable(nnx.Module):
    """A learned vector a position, added to the embedded tokens."""

    def __init__(self, num_rows: int, offset: int, embed_dim: int, making: Making):
        self.embedding = making.kernel("embedding", (num_rows, embed_dim), ("positions", "embed"))
        self.offset, self.dtype = offset, making.dtype

    def __call__(self, positions_BL: jax.Array) -> jax.Array:
        """Return ``x_BLD``. A position beyond the table becomes NaN, not silently the last one."""
        rows_BL = positions_BL + self.offset
        x_BLD = jnp.take(self.embedding[...], rows_BL, axis=0, mode="fill", fill_value=jnp.nan)
        return x_BLD.astype(self.dtype)


def sinusoids(positions_BL: jax.Array, dim: int) -> jax.Array:
    """Return float32 ``x_BLD``: sine and cosine of position / 10000^(2i/D) in turn (Vaswani et al. 2017)."""
    angles = _angles(positions_BL, _frequencies(dim, base=10_000.0))
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(*positions_BL.shape, dim)


class Rotation(NamedTuple):
    """Cosine and sine of every position and frequency, float32 ``[B or 1, L, K/2]``."""

    cos: jax.Array
    sin: jax.Array
    backend: str = "reference"
    """What computes the attention of what is turned."""


def rotation(positions_BL: jax.Array, head_dim: int, kind: RotaryPositions) -> Rotation:
    """Return the rotation of ``positions_BL`` (Su et al. 2021)."""
    frequencies = kind.scaling.scaled(_frequencies(head_dim, base=kind.base))
    angles = _angles(positions_BL, frequencies)
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x_BLHK: jax.Array, rotation: Rotation | None) -> jax.Array:
    """Return ``x_BLHK`` turned by its position, in its dtype; None leaves it as it is.

    Entry i is paired with entry i + K/2, as in Llama's released weights for transformers; GPT-J and the
    paper pair neighbours, which is the same up to an order of the kernel's columns.
    """
    if rotation is None:
        return x_BLHK
    cos, sin = rotation.cos[:, :, None, :], rotation.sin[:, :, None, :]
    first, second = jnp.split(x_BLHK.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BLHK.dtype)


def _frequencies(dim: int, *, base: float) -> jax.Array:
    """Return float32 ``[dim/2]``: 1 / base^(2i/dim)."""
    return base ** (-jnp.arange(0, dim, 2, dtype=jnp.float32) / dim)


def _angles(positions_BL: jax.Array, frequencies: jax.Array) -> jax.Array:
    """Return float32 ``[B, L, dim/2]``."""
    return positions_BL.astype(jnp.float32)[:, :, None] * frequencies[None, None, :]

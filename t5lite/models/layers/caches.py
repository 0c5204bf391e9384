"""The key-value cache of step-by-step decoding: all positions, or a ring of those in a layer's window."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from t5lite.models.config import AttentionSpec, AttentionView, StackSpec
from t5lite.models.layers.attention import KeyValues
from t5lite.partitioning.rules import constrain

Past = tuple[KeyValues, ...]
"""Each layer's, ``[B, G, places, K]``: what one query's products read of a head lies together, and a position
is written into an array that a loop keeps, rather than into a stack that every layer would be cut from."""


def by_head(own: KeyValues, heads_axis: str | None) -> KeyValues:
    """Return ``[B, M, G, K]`` as caches and memories have it, ``[B, G, M, K]``, or the other way round."""
    return KeyValues(*(constrain(x.swapaxes(1, 2), ("batch", heads_axis, None, "kv")) for x in own))


def num_places(spec: StackSpec, view: AttentionView, length: int) -> int:
    """Return the places that a layer's cache needs for ``length`` positions.

    A layer with a window needs no more than it sees. T5's bias counts distances by place, so under it places
    stay positions.
    """
    positions = spec.positions
    biased = positions.stack_bias is not None or positions.layer_bias is not None
    return length if view.window is None or biased else min(length, view.window.before + 1)


def positions_in(
    spec: StackSpec, view: AttentionView, places: int, position: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Return the place of ``position`` in a cache, and the position at every place once it is written.

    None stands for places that are positions. A place of a ring that was never written has a negative one.
    """
    if num_places(spec, view, places + 1) > places:
        return position, None
    slot = jax.lax.rem(position, jnp.int32(places))
    return slot, position - jax.lax.rem(
        slot - jnp.arange(places, dtype=jnp.int32) + places, jnp.int32(places)
    )


def empty_past(spec: StackSpec, batch_size: int, length: int, dtype: jnp.dtype) -> Past:
    """Return the caches of ``length`` positions."""
    attentions = [layer.attention for layer in spec.layers]
    return tuple(empty(each, batch_size, num_places(spec, each.view, length), dtype) for each in attentions)


def empty(attention: AttentionSpec, batch_size: int, places: int, dtype: jnp.dtype) -> KeyValues:
    """Return a layer's cache."""
    shape = (batch_size, attention.kv_heads, places, attention.head_dim)
    axes = ("batch", attention.kv_heads_axis, None, "kv")
    return KeyValues(*(constrain(jnp.zeros(shape, dtype), axes) for _ in range(2)))


def past_of_prompts(spec: StackSpec, own: Sequence[KeyValues], num_more: int) -> Past:
    """Return the caches of whole prompts' keys and values by head, with room for ``num_more`` positions."""
    past = []
    for layer, each in zip(spec.layers, own, strict=True):
        length = each.keys.shape[2]
        places = num_places(spec, layer.attention.view, length + num_more)
        past.append(KeyValues(*(_fit(x, length, places) for x in each)))
    return tuple(past)


def write(past: KeyValues, new: KeyValues, slot: jax.Array | int) -> KeyValues:
    """Return a layer's ``past`` with ``new`` written into it, one or more keys from ``slot`` on."""
    update = jax.lax.dynamic_update_slice_in_dim
    return KeyValues(
        *(update(x, y.astype(x.dtype), slot, x.ndim - 2) for x, y in zip(past, new, strict=True))
    )


def writers_at(writers_BLP: jax.Array, places: int, positions_M: jax.Array | None) -> jax.Array:
    """Return ``writers_BLM``: who wrote the positions that stand at a cache's places, None for 0, 1, ..."""
    if positions_M is None:
        return writers_BLP[:, :, :places]
    return jnp.take(writers_BLP, jnp.maximum(positions_M, 0), axis=2)


def _fit(x_BGLK: jax.Array, length: int, places: int) -> jax.Array:
    """Return the last positions where a ring of ``places`` has them, or all and room behind them."""
    if length <= places:
        return jnp.pad(x_BGLK, ((0, 0), (0, 0), (0, places - length), (0, 0)))
    return jnp.roll(x_BGLK[:, :, length - places :], length % places, axis=2)

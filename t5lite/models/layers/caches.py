"""The key-value cache of step-by-step decoding: all positions, or a ring of those in a layer's window."""

import jax
import jax.numpy as jnp

from t5lite.models.config import AttentionView, StackSpec
from t5lite.models.layers.attention import KeyValues
from t5lite.models.layers.groups import LayerGroups

Past = dict[str, KeyValues]
"""``[n, B, places, G, K]`` for each group of layers with caches of one shape."""


def cache_groups(spec: StackSpec) -> LayerGroups:
    """Return the layers whose caches are one array."""
    return LayerGroups.of(spec, lambda layer: (layer.attention.view, layer.attention.kv_heads))


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
    past: Past = {}
    for group, numbers in cache_groups(spec).layers.items():
        attention = spec.layers[numbers[0]].attention
        places = num_places(spec, attention.view, length)
        shape = (len(numbers), batch_size, places, attention.kv_heads, attention.head_dim)
        past[group] = KeyValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
    return past


def past_of_prompts(spec: StackSpec, own: Past, num_more: int) -> Past:
    """Return the caches of whole prompts' keys and values, with room for ``num_more`` positions."""
    past: Past = {}
    for group, numbers in cache_groups(spec).layers.items():
        length = own[group].keys.shape[2]
        places = num_places(spec, spec.layers[numbers[0]].attention.view, length + num_more)
        past[group] = KeyValues(*(_fit(each, length, places) for each in own[group]))
    return past


def _fit(x_NBLGK: jax.Array, length: int, places: int) -> jax.Array:
    """Return the last positions where a ring of ``places`` has them, or all and room behind them."""
    if length <= places:
        return jnp.pad(x_NBLGK, ((0, 0), (0, 0), (0, places - length), (0, 0), (0, 0)))
    return jnp.roll(x_NBLGK[:, :, length - places :], length % places, axis=2)

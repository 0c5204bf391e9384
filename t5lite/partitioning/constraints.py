"""Constraints that say where the gradient goes too, and the sharded lookup of rows.

``rules.constrain`` asks the same layout of an activation and of its gradient. Where that costs, the two are
told apart here.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from t5lite.core.types import LogicalAxes
from t5lite.partitioning.rules import (
    RESIDUAL_AXES,
    Partitioner,
    active_partitioner,
    entry_axes,
    on_one_device,
    place,
    target_platform,
)

_TILE_BYTES = 32
"""Of one column of a TPU's tile: 8 rows of float32, 16 of bfloat16."""
_TILE_COLUMNS = 128
_MOST_TILES = 89
"""Of a row that XLA:TPU takes as one group: of primes it does these, and does not 97 (libtpu 0.0.52)."""


def gather_for(x: jax.Array, axes: LogicalAxes, result_axis: str) -> jax.Array:
    """Return ``x`` as the operand of a product that replaces its last axis by ``result_axis``.

    Where the residual stream is sharded along its length over the devices that also share ``heads`` or
    ``mlp`` (style sequence_parallel), this is the all-gather in front of the product, and the gradient comes
    back in the layout of ``axes`` by reduce-scatter, where the plain transpose of a constraint would ask for
    an all-reduce (Korthikanti et al. 2022, "g"). Elsewhere it changes nothing.

    Args:
      x: an activation.
      axes: its logical axes, and those of its gradient.
      result_axis: the logical axis that the product has in the place of the last one.
    """
    return _laid_out(x, axes, result_axis, gathers=True)


def gather_once(x: jax.Array, axes: LogicalAxes, result_axis: str) -> jax.Array:
    """Return what ``gather_for`` does, without a gradient: for ``as_gathered``, where layers share it."""
    return jax.lax.stop_gradient(gather_for(x, axes, result_axis))


def as_gathered(x: jax.Array, gathered: jax.Array, axes: LogicalAxes, result_axis: str) -> jax.Array:
    """Return ``gather_for(x, axes, result_axis)``, which is ``gathered`` already.

    The gradient is that of ``x``. Layers whose products all read ``x`` do not gather it again, nor does their
    recomputation; each scatters its own part of the gradient, for the sum of them to be as small as ``x``.
    """
    partitioner = active_partitioner()
    if partitioner is None or on_one_device():
        return x

    @jax.custom_vjp
    def chosen(x: jax.Array, gathered: jax.Array) -> jax.Array:
        return gathered

    def backward(_: None, gradient: jax.Array) -> tuple[jax.Array, None]:
        return scatter_from(gradient, axes, result_axis), None

    chosen.defvjp(lambda x, gathered: (gathered, None), backward)
    return chosen(x, gathered)


def scatter_from(x: jax.Array, axes: LogicalAxes, operand_axis: str) -> jax.Array:
    """Return ``x``, a product whose operand has ``operand_axis`` in the place of its last axis.

    The counterpart of ``gather_for``: the sum over ``operand_axis`` is a reduce-scatter, and the gradient is
    gathered, once for both products that need it. Left alone, XLA gathers the kernel instead.

    Args:
      x: an activation.
      axes: its logical axes.
      operand_axis: the logical axis that the product sums over.
    """
    return _laid_out(x, axes, operand_axis, gathers=False)


def _laid_out(x: jax.Array, axes: LogicalAxes, inner_axis: str, *, gathers: bool) -> jax.Array:
    partitioner = active_partitioner()
    if partitioner is None or on_one_device():
        return x
    own = partitioner.activation_spec(axes)
    gathered = PartitionSpec(*partitioner.activation_spec((*axes[:-1], inner_axis))[:-1], None)

    def summed(x: jax.Array) -> jax.Array:
        by_columns = _by_columns(x, own, gathered, partitioner)
        return place(x if by_columns is None else place(x, by_columns, partitioner), own, partitioner)

    def then_gathered(x: jax.Array) -> jax.Array:
        return place(place(x, own, partitioner), gathered, partitioner)

    forward, backward = (then_gathered, summed) if gathers else (summed, then_gathered)
    laid_out = jax.custom_vjp(forward)
    laid_out.defvjp(lambda x: (forward(x), None), lambda _, gradient: (backward(gradient),))
    return laid_out(x)


def _by_columns(
    x: jax.Array, own: PartitionSpec, gathered: PartitionSpec, partitioner: Partitioner
) -> PartitionSpec | None:
    """Return the layout in which sums over devices come back on the way to ``own``; None for ``own`` itself.

    XLA:TPU makes a reduce-scatter only where a device gets whole tiles of rows; of a shorter length it sends
    twice as much, by an all-reduce, and cuts. Each device then takes its share of the columns, and an
    all-to-all of what is left by then turns that into its share of the length.
    """
    inner = entry_axes(gathered[1])
    summed_over = tuple(axis for axis in entry_axes(own[1]) if axis not in inner)
    ways = partitioner.num_shards(own[1])
    is_whole = x.shape[1] % (ways * _TILE_BYTES // x.dtype.itemsize) == 0
    if is_whole or own[-1] is not None or x.shape[1] < ways or partitioner.num_shards(summed_over) == 1:
        return None
    return PartitionSpec(own[0], inner or None, summed_over)


def constrain_parameter(x: jax.Array, axes: LogicalAxes) -> jax.Array:
    """Return ``x``, a parameter or its gradient, constrained to where the active partitioner keeps it."""
    partitioner = active_partitioner()
    return x if partitioner is None else place(x, partitioner.stored_spec(axes, x.shape), partitioner)


def gathered_spec(axes: LogicalAxes, shape: Sequence[int]) -> PartitionSpec | None:
    """Return how a parameter lies for products with activations: whole on devices with different tokens.

    None where no device has to gather it.
    """
    partitioner = active_partitioner()
    if partitioner is None or on_one_device():
        return None
    kept, asked = partitioner.stored_spec(axes, shape), partitioner.spec(axes)
    tokens = partitioner.activation_spec(("batch", "length", "heads", "kv"))[:2]
    token_axes = {axis for entry in tokens for axis in entry_axes(entry)}
    shared = tuple(axis for entry in kept for axis in entry_axes(entry) if axis in token_axes)
    if partitioner.num_shards(shared) == 1:
        return None
    left = [tuple(axis for axis in entry_axes(entry) if axis not in token_axes) for entry in asked]
    return PartitionSpec(*(axes or None for axes in left))


def gather_parameters(parameters: Sequence[jax.Array], axes: LogicalAxes, spec: PartitionSpec) -> jax.Array:
    """Return parameters of equal axes and rows beside one another as ``gathered_spec`` has it; no gradient.

    Args:
      parameters: ``[rows, columns]`` each, in the layout in which they are kept; of several the rows alone
        are shared out, and alike.
      axes: of each.
      spec: of the result.
    """
    partitioner = active_partitioner()
    assert partitioner is not None  # it gave the spec
    stored = partitioner.stored_spec(axes, parameters[0].shape)
    kept = [place(each, stored, partitioner) for each in parameters]
    joined = place(jnp.concatenate(kept, axis=1), stored, partitioner) if len(kept) > 1 else kept[0]
    return jax.lax.stop_gradient(place(joined, spec, partitioner))


def scatter_gradient(x: jax.Array, gathered: jax.Array, axes: LogicalAxes) -> jax.Array:
    """Return ``gathered``, which is the parameter ``x``; the gradient is of ``x``, summed to its place."""
    partitioner = active_partitioner()
    assert partitioner is not None  # it gathered x
    kept = partitioner.stored_spec(axes, x.shape)

    @jax.custom_vjp
    def chosen(x: jax.Array, gathered: jax.Array) -> jax.Array:
        return gathered

    def backward(_: None, gradient: jax.Array) -> tuple[jax.Array, None]:
        return _summed(gradient, kept, partitioner), None

    chosen.defvjp(lambda x, gathered: (gathered, None), backward)
    return chosen(x, gathered)


def sums_by_rows(shape: Sequence[int], axes: LogicalAxes) -> bool:
    """Return whether the sum of a kernel's gradient is scattered along its rows alone (``_by_rows``)."""
    partitioner = active_partitioner()
    if partitioner is None or on_one_device():
        return False
    return _by_rows(shape, partitioner.stored_spec(axes, shape), partitioner) is not None


def _summed(gradient: jax.Array, kept: PartitionSpec, partitioner: Partitioner) -> jax.Array:
    """Return the gradient of a kernel, summed over devices, where the kernel is kept."""
    by_rows = _by_rows(gradient.shape, kept, partitioner)
    return place(gradient if by_rows is None else place(gradient, by_rows, partitioner), kept, partitioner)


def _by_rows(shape: Sequence[int], kept: PartitionSpec, partitioner: Partitioner) -> PartitionSpec | None:
    """Return the layout of a gradient's sum on the way to ``kept``, along its rows; None for ``kept``."""
    if len(shape) != 2 or kept[0] is not None or not _is_cut(shape[1], partitioner.num_shards(kept[1])):
        return None
    return PartitionSpec(kept[1], None) if shape[0] % partitioner.num_shards(kept[1]) == 0 else None


def _is_cut(columns: int, parts: int) -> bool:
    """Return whether a sum of which each device keeps some columns is made whole, and cut.

    So does XLA:TPU where a device keeps an odd number of whole tiles (2,048 columns on 16 devices, 4,096 on
    32): it sends twice as much, by an all-reduce. Along the rows it scatters, and an all-to-all of what is
    left by then makes the parts that are kept.
    """
    tiles, rest = divmod(columns, parts * _TILE_COLUMNS)
    return target_platform() == "tpu" and parts > 1 and rest == 0 and tiles % 2 == 1


def laid_out_by_rules(x: jax.Array, axes: LogicalAxes) -> jax.Array:
    """Return a table of the vocabulary for a product, split as the rules ask even where it cannot be kept so.

    By an all-to-all, where rows that do not divide are kept as columns; XLA pads them. The gradient goes the
    same way back. A table that is kept as the rules ask is left alone but where the sum of its gradient would
    not be scattered (``_is_scattered``): then it may have words of zeros at its end.
    """
    partitioner = active_partitioner()
    if partitioner is None:
        return x
    kept, asked = partitioner.stored_spec(axes, x.shape), partitioner.spec(axes)
    if kept != asked:
        return place(place(x, kept, partitioner), asked, partitioner)
    width, words = (axes.index(axis) for axis in ("embed", "vocab"))
    parts = partitioner.num_shards(kept[width])
    is_cut = words == 0 and _is_cut(x.shape[width], parts)
    if parts == 1 or kept[words] is not None or (_is_scattered(x.shape[words]) and not is_cut):
        return x
    by_words = PartitionSpec(*(kept[width] if axis == words else None for axis in range(2)))
    x = pad_parameter(
        x, axes, [size + (-size % parts if axis == words else 0) for axis, size in enumerate(x.shape)]
    )

    def summed(_: None, gradient: jax.Array) -> tuple[jax.Array]:
        return (place(place(gradient, by_words, partitioner), kept, partitioner),)

    laid_out = jax.custom_vjp(lambda x: x)
    laid_out.defvjp(lambda x: (x, None), summed)
    return laid_out(x)


def _is_scattered(vocab_size: int) -> bool:
    """Return whether the sum of a gradient is scattered along ``embed`` as it is made.

    XLA:TPU takes the tiles of a row in equal groups. Where a prime factor of their number is too large, as of
    251 (T5's vocabulary) or of 2 x 3 x 167 (Llama 3's), it sends twice as much, by an all-reduce; along the
    vocabulary it does scatter, and an all-to-all of what is left by then makes the parts that are kept.
    """
    tiles = -(-vocab_size // _TILE_COLUMNS)
    return target_platform() != "tpu" or _largest_prime_factor(tiles) <= _MOST_TILES


def _largest_prime_factor(number: int) -> int:
    for factor in range(2, math.isqrt(number) + 1):
        if number % factor == 0:
            return max(factor, _largest_prime_factor(number // factor))
    return number


def pad_parameter(x: jax.Array, axes: LogicalAxes, shape: Sequence[int]) -> jax.Array:
    """Return a parameter with zeros at its ends, up to ``shape``, on the devices that keep it."""
    padded = jnp.pad(x, [(0, wanted - size) for wanted, size in zip(shape, x.shape, strict=True)])
    partitioner = active_partitioner()
    if partitioner is None:
        return padded
    return place(padded, partitioner.stored_spec(axes, x.shape), partitioner)


def num_parts(axes: LogicalAxes, axis: str) -> int:
    """Return over how many devices an activation is split along one of its logical axes."""
    partitioner = active_partitioner()
    if partitioner is None:
        return 1
    return partitioner.num_shards(partitioner.activation_spec(axes)[axes.index(axis)])


def local_shape(shape: tuple[int, ...], axes: LogicalAxes) -> tuple[int, ...]:
    """Return the shape of one device's part of an activation, rounded up; whole without a partitioner."""
    partitioner = active_partitioner()
    if partitioner is None:
        return shape
    spec = partitioner.activation_spec(axes)
    return tuple(-(-size // partitioner.num_shards(entry)) for size, entry in zip(shape, spec, strict=True))


def take_rows(table_VD: jax.Array, ids_BL: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return the rows ``ids_BL`` of a table as ``[B, L, D]``; NaN for an id beyond it.

    On a mesh every device looks up its share of the columns for the tokens of a whole row of devices, and
    an all-to-all turns shares of columns into shares of the batch; the gradient goes the same way back.
    Left alone, XLA gathers the float32 gradients of all tokens on every device.

    Args:
      table_VD: a parameter of the logical axes ("vocab", "embed"); its gradient has its dtype.
      ids_BL: of the logical axes ("batch", "length").
      dtype: of the result.
    """
    partitioner = active_partitioner()
    if partitioner is None or on_one_device():
        return _take(table_VD, ids_BL).astype(dtype)
    own = partitioner.activation_spec(RESIDUAL_AXES)
    table_spec, shares = _lookup_specs(partitioner, own)

    @jax.custom_vjp
    def take(table_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        table_VD = place(table_VD.astype(dtype), table_spec, partitioner)
        x_BLD = _take(table_VD, place(ids_BL, PartitionSpec(*shares[:2]), partitioner))
        return place(place(x_BLD, shares, partitioner), own, partitioner)

    def backward(ids_BL: jax.Array, gradient_BLD: jax.Array) -> tuple[jax.Array, None]:
        gradient_BLD = place(place(gradient_BLD, own, partitioner), shares, partitioner)
        ids_BL = place(ids_BL, PartitionSpec(*shares[:2]), partitioner)
        zeros_VD = place(jnp.zeros(table_VD.shape, table_VD.dtype), table_spec, partitioner)
        summed_VD = zeros_VD.at[ids_BL].add(gradient_BLD.astype(table_VD.dtype), mode="drop")
        return constrain_parameter(place(summed_VD, table_spec, partitioner), ("vocab", "embed")), None

    take.defvjp(lambda table_VD, ids_BL: (take(table_VD, ids_BL), ids_BL), backward)
    return take(table_VD, ids_BL)


def _take(table_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
    return jnp.take(table_VD, ids_BL, axis=0, mode="fill", fill_value=jnp.nan)


def _lookup_specs(partitioner: Partitioner, own: PartitionSpec) -> tuple[PartitionSpec, PartitionSpec]:
    """Return the layouts, during the lookup, of the table and of the rows that are found in it.

    The columns stay on their devices, which the batch leaves; the rows of the table stay unless the length
    is sharded over their devices.
    """
    vocab, embed = (entry_axes(entry) for entry in partitioner.spec(("vocab", "embed")))
    batch, length = (tuple(axis for axis in entry_axes(entry) if axis not in embed) for entry in own[:2])
    vocab = tuple(axis for axis in vocab if axis not in length)
    return PartitionSpec(vocab or None, embed or None), PartitionSpec(
        batch or None, length or None, embed or None
    )

"""A layer's kernels as products read them, gathered once a step: what remat keeps by the name ``kernels``."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from t5lite.core.types import LogicalAxes
from t5lite.models.config import Execution
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.models.layers.low_rank import whole, with_whole
from t5lite.partitioning.constraints import gather_parameters, gathered_spec, scatter_gradient, sums_by_rows
from t5lite.partitioning.rules import active_partitioner, target_platform

_SMALL_SHARE = 48 * 1024
"""Bytes of a device's share below which XLA:TPU gathers by an all-reduce, which sends twice as much: so it
did with 32 KiB on each of 256 devices, and not with 48 (libtpu 0.0.52)."""


class _Kernel(NamedTuple):
    number: int
    """Among the layer's parameters."""
    array: jax.Array
    """In the compute dtype; as stored, but for small ones, whose rows are ``embed``."""
    axes: LogicalAxes
    stored: PartitionSpec
    """Of it as it is kept."""
    spec: PartitionSpec
    """Of it as products read it."""
    is_turned: bool = False


def named_kernels(state: nnx.State, execution: Execution, *, apart: bool) -> nnx.State:
    """Return a layer's parameters, its kernels gathered and named where the remat policy keeps them.

    A kernel is cast, and gathered over the devices that share the batch, in any case, forward and backward.
    Kept as products read it, it is gathered once a step. On a TPU, small ones of a layer are gathered as one
    where their rows are shared out alike: laid beside one another, no share of them changes its device.
    Others are left as they are, but where the sum of a gradient has to be scattered along its rows.

    Args:
      state: of one layer, each ``nnx.Param`` with the logical axes of its stack.
      execution: how the model is computed.
      apart: whether another stack of the model may keep arrays of the same shapes. XLA:TPU fills with zeros
        what two loops keep in one shape, before they write it; an axis of 1 in front makes it another.
    """
    leaves, structure = jax.tree.flatten(state, is_leaf=lambda node: isinstance(node, nnx.Param))
    if any(isinstance(leaf.get_value(), Int8Kernel) for leaf in leaves):
        return state  # no gradient is taken, and nothing kept for one
    if execution.remat != "gathered" and "kernels" not in execution.remat_names:
        return jax.tree.unflatten(structure, [_scattered(leaf, execution) for leaf in leaves])
    together: dict[Hashable, list[_Kernel]] = defaultdict(list)
    for kernel in _kernels(leaves, jnp.dtype(execution.compute_dtype)):
        turned = _with_rows_in_front(kernel)
        rows, columns = turned.stored
        is_joined = target_platform() == "tpu" and columns is None and not any(kernel.spec)
        if is_joined and _share_bytes(kernel) < _SMALL_SHARE:
            together[turned.array.shape[0], rows].append(turned)
        else:
            together[kernel.number].append(kernel)
    for group in together.values():
        gathered = gather_parameters([each.array for each in group], group[0].axes, group[0].spec)
        kept = checkpoint_name(gathered[None] if apart else gathered, "kernels")
        whole, start = kept[0] if apart else kept, 0
        for each in group:
            end = start + each.array.shape[1]
            read = scatter_gradient(each.array, whole[:, start:end], each.axes)
            leaf = leaves[each.number]
            as_read = with_whole(leaf.get_value(), read.T if each.is_turned else read)
            leaves[each.number] = leaf.replace(as_read)
            start = end
    return jax.tree.unflatten(structure, leaves)


def _scattered(leaf: nnx.Param, execution: Execution) -> nnx.Variable:
    """Return a parameter of a layer; the sum of its gradient is scattered along its rows if it has to be."""
    axes: LogicalAxes = tuple(leaf.get_metadata("out_sharding"))[1:]
    if not sums_by_rows(whole(leaf.get_value()).shape, axes):
        return leaf
    array = whole(leaf.get_value()).astype(jnp.dtype(execution.compute_dtype))
    read = scatter_gradient(array, jax.lax.stop_gradient(array), axes)
    return leaf.replace(with_whole(leaf.get_value(), read))


def _kernels(leaves: list[nnx.Param], dtype: jnp.dtype) -> Iterator[_Kernel]:
    """Yield those parameters that products with activations read and some device has to gather."""
    partitioner = active_partitioner()
    for number, leaf in enumerate(leaves):
        axes: LogicalAxes = tuple(leaf.get_metadata("out_sharding"))[1:]
        if len(axes) < 2 or "embed" not in axes:
            continue
        array = whole(leaf.get_value()).astype(dtype)
        spec = gathered_spec(axes, array.shape)
        if partitioner is not None and spec is not None:
            yield _Kernel(number, array, axes, partitioner.stored_spec(axes, array.shape), spec)


def _share_bytes(kernel: _Kernel) -> float:
    """Return the size of what one device keeps of a kernel."""
    partitioner = active_partitioner()
    assert partitioner is not None  # else nothing was to be gathered
    return kernel.array.nbytes / math.prod(map(partitioner.num_shards, kernel.stored))


def _with_rows_in_front(kernel: _Kernel) -> _Kernel:
    if kernel.axes[0] == "embed":
        return kernel
    stored = PartitionSpec(*kernel.stored[::-1])
    return kernel._replace(array=kernel.array.T, axes=kernel.axes[::-1], stored=stored, is_turned=True)

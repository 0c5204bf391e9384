"""What a mesh axis splits nowhere: arrays that devices keep whole though the rules would share them."""

import math
from typing import NamedTuple

import jax

from t5lite.core.types import LogicalAxes, Tree
from t5lite.partitioning.rules import Partitioner, entry_axes, is_logical_axes


class _Unsplit(NamedTuple):
    name: str
    axes: LogicalAxes
    shape: tuple[int, ...]
    mesh_axes: tuple[str, ...]
    needless_bytes: float
    """On every device, beyond its share."""


def unsplit_messages(partitioner: Partitioner, abstract_tree: Tree, axes_tree: Tree) -> list[str]:
    """Return what to say of arrays that a mesh axis divides in no dimension: one message, none without them.

    Args:
      partitioner: its mesh may be abstract.
      abstract_tree: arrays or ``ShapeDtypeStruct``s (parameters or a whole train state).
      axes_tree: the same structure with a tuple of logical axes for every leaf.
    """
    leaves = jax.tree_util.tree_leaves_with_path(abstract_tree)
    axes_leaves = jax.tree.leaves(axes_tree, is_leaf=is_logical_axes)
    found = []
    for (path, leaf), axes in zip(leaves, axes_leaves, strict=True):
        kept = {axis for entry in partitioner.stored_spec(axes, leaf.shape) for axis in entry_axes(entry)}
        asked = (axis for entry in partitioner.spec(axes) for axis in entry_axes(entry))
        missing = tuple(axis for axis in asked if axis not in kept)
        if missing:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            here = math.prod(leaf.shape) * leaf.dtype.itemsize / partitioner.num_shards(tuple(kept))
            needless = here * (1 - 1 / partitioner.num_shards(missing))
            found.append(_Unsplit(name, axes, leaf.shape, missing, needless))
    if not found:
        return []
    largest = max(found, key=lambda each: each.needless_bytes)
    ways = partitioner.num_shards(largest.mesh_axes)
    mesh = " x ".join(f"{axis}={partitioner.mesh.shape[axis]}" for axis in largest.mesh_axes)
    shape = " x ".join(f"{axis}={size:,}" for axis, size in zip(largest.axes, largest.shape, strict=True))
    others = f" and {len(found) - 1} other arrays" if len(found) > 1 else ""
    remedies = " or ".join(f"partitioning.{axis}" for axis in largest.mesh_axes)
    return [
        f"note: mesh {mesh} divides no dimension of {largest.name} ({shape}){others}: every device keeps "
        f"{sum(each.needless_bytes for each in found) / 2**20:,.1f} MiB beyond its share; make a dimension "
        f"a multiple of {ways}, or change {remedies}"
    ]

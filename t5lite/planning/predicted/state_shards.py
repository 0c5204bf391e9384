"""Parameters and optimizer state as a mesh splits them: on a device, and across each mesh axis."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax

from t5lite.core.types import LogicalAxes, Tree
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import is_logical_axes
from t5lite.planning.hardware.links import ring_share
from t5lite.training.gradients import StepGradients
from t5lite.training.state import state_axes

_FLOAT32 = 4
_TABLE_AXES: LogicalAxes = ("vocab", "embed")


@dataclass(frozen=True, kw_only=True)
class StateShards:
    """One device's part of the state, and the exchange that its mesh asks for, in bytes."""

    parameters: float
    optimizer: float
    updated: float
    """Parameters that are trained."""
    gradients: float
    """Of these, in float32, split like them."""
    kernels: float
    """Parameters in the compute dtype as products read them: gathered over the axes that split the batch."""
    kernels_again: float
    """Those of them that the backward pass reads too."""
    kernels_to_keep: float
    """Those of them that are in layers and gathered."""
    largest_layer: float
    """Those of the layer that has most."""
    gathered: Mapping[str, float]
    """Sent along each mesh axis to gather every kernel once."""
    gathered_again: Mapping[str, float]
    """The same, of those that the backward pass reads too."""
    gathered_again_outside: Mapping[str, float]
    """The same, of those outside of layers."""
    reduced: Mapping[str, float]
    """Sent along each mesh axis to sum every gradient once, in float32."""


@dataclass(frozen=True)
class _Leaf:
    axes: LogicalAxes
    shape: tuple[int, ...]
    elements: int
    """Of all arrays of this kind."""
    itemsize: int
    stack: str
    """Name of the stack and the group of layers that it belongs to; empty outside of them."""
    num_layers: int
    is_trained: bool
    is_read_again: bool
    """Whether the backward pass reads it too."""


class StateShapes:
    """The state of a model and its optimizer, traced once; its parts under a mesh are then arithmetic.

    Args:
      model: with its abstract parameters, and its compute dtype.
      optimizer: its state is traced by ``jax.eval_shape``.
      gradients: that a step of the two takes.
    """

    def __init__(self, model: FunctionalModel, optimizer: Optimizer, gradients: StepGradients):
        opt_state = jax.eval_shape(optimizer.init, model.abstract_params)
        self._parameters = _leaves(model.abstract_params, model.logical_axes, gradients)
        self._optimizer = _leaves(opt_state, state_axes(model, optimizer).opt_state)
        self._itemsize = {"float32": 4, "bfloat16": 2}[model.execution.compute_dtype]
        # Where the logits have a kernel of their own, rows of the table are only looked up.
        self._is_table_kernel = model.config.tie_embeddings

    def shards(self, partitioner: Partitioner) -> StateShards:
        """Return one device's part under a partitioner, whose mesh may be abstract."""
        sizes = dict(partitioner.mesh.shape)
        data_axes = [axis for axis in data_mesh_axes(partitioner) if sizes[axis] > 1]
        gathered: dict[str, float] = defaultdict(float)
        again: dict[str, float] = defaultdict(float)
        outside: dict[str, float] = defaultdict(float)
        reduced: dict[str, float] = defaultdict(float)
        layers: dict[str, float] = defaultdict(float)
        parameters = updated = gradients = kernels = kernels_again = to_keep = 0.0
        for leaf in self._parameters:
            own = mesh_axes(partitioner.stored_spec(leaf.axes, leaf.shape))
            shard = leaf.elements / math.prod(sizes[axis] for axis in own)
            shared = [axis for axis in data_axes if axis in own]
            whole = shard * math.prod(sizes[axis] for axis in shared) * self._itemsize
            parameters += shard * leaf.itemsize
            updated += shard * leaf.itemsize * leaf.is_trained
            gradients += shard * _FLOAT32 * leaf.is_trained
            is_kernel = leaf.axes != _TABLE_AXES or self._is_table_kernel
            kernels += whole if is_kernel else 0.0
            kernels_again += whole if is_kernel and leaf.is_read_again else 0.0
            to_keep += whole * leaf.is_read_again if leaf.stack and shared else 0.0
            if leaf.stack:
                layers[leaf.stack] += whole / leaf.num_layers
            for axis in data_axes:
                if axis not in own:
                    reduced[axis] += 2 * ring_share(sizes[axis]) * shard * _FLOAT32 * leaf.is_trained
            for axis in _moved(partitioner, leaf):
                if axis not in data_axes:  # by an all-to-all, to where the product or the lookup needs it
                    moved = ring_share(sizes[axis]) * shard * self._itemsize
                    gathered[axis] += moved
                    again[axis] += moved * leaf.is_read_again
                    outside[axis] += moved * leaf.is_read_again
                    reduced[axis] += ring_share(sizes[axis]) * shard * _FLOAT32 * leaf.is_trained
            part = shard if is_kernel else 0.0
            for axis in reversed(shared):  # the inner ones first, while there is little to send
                part *= sizes[axis]
                sent = ring_share(sizes[axis]) * part * self._itemsize
                gathered[axis] += sent
                again[axis] += sent * leaf.is_read_again
                outside[axis] += 0.0 if leaf.stack else sent * leaf.is_read_again
                reduced[axis] += ring_share(sizes[axis]) * part * _FLOAT32 * leaf.is_trained
        return StateShards(
            parameters=parameters,
            optimizer=sum(_shard_bytes(partitioner, leaf) for leaf in self._optimizer),
            updated=updated,
            gradients=gradients,
            kernels=kernels,
            kernels_again=kernels_again,
            kernels_to_keep=to_keep,
            largest_layer=max(layers.values()),
            gathered=gathered,
            gathered_again=again,
            gathered_again_outside=outside,
            reduced=reduced,
        )


def data_mesh_axes(partitioner: Partitioner) -> tuple[str, ...]:
    """Return the mesh axes along which devices have different tokens: those of the rows and of the length."""
    return mesh_axes(partitioner.activation_spec(("batch", "length", "heads", "kv"))[:2])


def mesh_axes(spec: Iterable[str | tuple[str, ...] | None]) -> tuple[str, ...]:
    """Return every mesh axis that a partition spec, or some entries of one, uses."""
    return tuple(axis for entry in spec for axis in ((entry,) if isinstance(entry, str) else entry or ()))


def _moved(partitioner: Partitioner, leaf: _Leaf) -> list[str]:
    """Return the mesh axes that keep another dimension split than the rules ask for."""
    kept, asked = partitioner.stored_spec(leaf.axes, leaf.shape), partitioner.spec(leaf.axes)
    return [
        axis
        for ours, theirs in zip(kept, asked, strict=True)
        for axis in mesh_axes((ours,))
        if axis not in mesh_axes((theirs,))
    ]


def _shard_bytes(partitioner: Partitioner, leaf: _Leaf) -> float:
    sizes = partitioner.mesh.shape
    ways = math.prod(sizes[axis] for axis in mesh_axes(partitioner.stored_spec(leaf.axes, leaf.shape)))
    return leaf.elements * leaf.itemsize / ways


def _leaves(abstract_tree: Tree, axes_tree: Tree, gradients: StepGradients | None = None) -> list[_Leaf]:
    """Return the arrays of a tree, those of one stack with equal axes and shapes as one.

    ``gradients`` are those of parameters.
    """
    axes_leaves = jax.tree.leaves(axes_tree, is_leaf=is_logical_axes)
    merged: dict[tuple, int] = defaultdict(int)
    for (path, array), axes in zip(
        jax.tree_util.tree_leaves_with_path(abstract_tree), axes_leaves, strict=True
    ):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        is_trained = gradients is not None and name in gradients.trained
        is_read_again = gradients is not None and gradients.reads_again(name)
        is_layer = "layers" in axes
        stack = jax.tree_util.keystr(path[:2], simple=True) if is_layer else ""
        num_layers = array.shape[axes.index("layers")] if is_layer else 1
        alike = (axes, array.shape, array.dtype.itemsize, stack, num_layers, is_trained, is_read_again)
        merged[alike] += math.prod(array.shape)
    return [_Leaf(axes, shape, elements, *rest) for (axes, shape, *rest), elements in merged.items()]

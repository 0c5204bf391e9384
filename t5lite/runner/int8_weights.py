"""The weights of a trained model as int8: the kernels of its layers, which are nearly all of a large one."""

import dataclasses
import itertools
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from t5lite.checkpointing.partial import RestoreReport
from t5lite.checkpointing.reading import leaf_names, listed, nested_from_names
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.types import LogicalAxes, Tree
from t5lite.models.functional import FunctionalModel
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.models.quantization import is_layer_kernel
from t5lite.optim.trained import merged as with_leaves
from t5lite.partitioning import Partitioner, multihost
from t5lite.partitioning.rules import is_logical_axes

Weights: TypeAlias = Literal["int8"]
"""How a model that is trained holds its weights, where not as they were saved."""
Restored: TypeAlias = tuple[Tree, RestoreReport, str]
"""As of ``averages.restore_average``."""

_PART_BYTES = 1 << 30
"""Of parameters, as they were saved, that are there at a time; one array may be larger."""


def check_weights(weights: Weights | None) -> None:
    """Check what may come from a text.

    Raises:
      ConfigError: for another word.
    """
    if weights not in (None, *get_args(Weights)):
        raise ConfigError(f"weights={weights!r} is not known; give int8, or leave it out")


def restored_as_int8(
    model: FunctionalModel,
    abstract_params: Tree,
    partitioner: Partitioner,
    restore: Callable[[Tree, Collection[str]], Restored],
) -> Restored:
    """Return parameters of ``quantized(model)``; those of ``model`` are never all there.

    Args:
      model: as it was trained.
      abstract_params: of it, with shardings.
      partitioner: of the mesh.
      restore: returns some of the parameters; is given their shapes, and the names of the others.

    Raises:
      CheckpointError: as of ``restore``, and for a kernel that is not finite.
    """
    names = leaf_names(abstract_params)
    found: dict[str, Any] = {}
    reports: list[RestoreReport] = []
    words = ""
    for part in _parts(dict(zip(names, jax.tree.leaves(abstract_params), strict=True))):
        params, report, words = restore(nested_from_names(part), [name for name in names if name not in part])
        reports.append(report)
        found |= _named(_with_int8(model, params, partitioner))
    _say_memory(abstract_params, found)
    leaves = itertools.chain.from_iterable(report.leaves for report in reports)
    return nested_from_names(found), dataclasses.replace(reports[0], leaves=tuple(leaves)), words


def as_int8(model: FunctionalModel, params: Tree, partitioner: Partitioner) -> Tree:
    """Return parameters of ``quantized(model)`` in place of those of ``model``, which are given up.

    Raises:
      CheckpointError: for a kernel that is not finite.
    """
    found = _with_int8(model, params, partitioner)
    _say_memory(params, found)
    return found


def _with_int8(model: FunctionalModel, params: Tree, partitioner: Partitioner) -> Tree:
    """Return some of a model's parameters, the kernels of layers among them as int8."""
    all_axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    axes = {
        name: each
        for name, each in zip(leaf_names(model.abstract_params), all_axes, strict=True)
        if is_layer_kernel(each)
    }
    kernels = {name: leaf for name, leaf in _named(params).items() if name in axes}
    if not kernels:
        return params
    return with_leaves(params, nested_from_names(_int8(kernels, axes, partitioner)))


def _int8(
    kernels: Mapping[str, jax.Array], axes: Mapping[str, LogicalAxes], partitioner: Partitioner
) -> dict[str, Int8Kernel]:
    def convert(kernels: Mapping[str, jax.Array]) -> tuple[dict[str, Int8Kernel], dict[str, jax.Array]]:
        made = {name: Int8Kernel.of(kernel) for name, kernel in kernels.items()}
        return made, {name: jnp.isfinite(kernel).all() for name, kernel in kernels.items()}

    shardings = {
        name: Int8Kernel(
            partitioner.sharding(axes[name], kernel.shape),
            partitioner.sharding((axes[name][0], axes[name][2]), (kernel.shape[0], kernel.shape[2])),
        )
        for name, kernel in kernels.items()
    }
    made, finite = jax.jit(convert, out_shardings=(shardings, partitioner.replicated))(kernels)
    bad = [name for name, is_finite in jax.device_get(finite).items() if not is_finite]
    if bad:
        raise CheckpointError(
            f"{len(bad)} kernels hold NaN or infinity, which int8 has none of: {listed(bad)}; take another "
            "checkpoint by --step"
        )
    for kernel in kernels.values():
        kernel.delete()
    return made


def _parts(leaves: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the leaves, in order, so many at a time as have ``_PART_BYTES``."""
    part: dict[str, Any] = {}
    for name, leaf in leaves.items():
        if part and _bytes({**part, name: leaf}) > _PART_BYTES:
            yield part
            part = {}
        part[name] = leaf
    yield part


def _named(tree: Tree) -> dict[str, Any]:
    """Return parameters by their dotted names, each kernel of int8 as one."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: isinstance(leaf, Int8Kernel))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _bytes(tree: Tree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _say_memory(before: Tree, after: Tree) -> None:
    if multihost.is_leader():
        print(
            f"note: with weights of int8 the parameters have {_bytes(after) / 2**20:,.1f} MiB in place of "
            f"{_bytes(before) / 2**20:,.1f}",
            file=sys.stderr,
        )

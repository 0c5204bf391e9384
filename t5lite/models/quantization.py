"""A model whose layers hold kernels of int8 in the place of those that it was trained with."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from t5lite.core.types import LogicalAxes, Tree
from t5lite.models.functional import FunctionalModel
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.partitioning.rules import is_logical_axes


def is_layer_kernel(axes: LogicalAxes) -> bool:
    """Whether a parameter is a kernel of layers, by its axes.

    Tables, what makes logits and heads are none: they are few where a model is large. Nor are biases and
    scales of norms.
    """
    return len(axes) == 3 and axes[0] == "layers" and "embed" in axes


def quantized(model: FunctionalModel) -> FunctionalModel:
    """Return the model whose parameters are those of ``model``, the kernels of its layers of int8."""

    def of_axes(axes: LogicalAxes) -> Int8Kernel:
        return Int8Kernel(axes, (axes[0], axes[2]))

    return dataclasses.replace(
        model,
        logical_axes=with_kernels(model, model.logical_axes, of_axes),
        abstract_params=with_kernels(
            model, model.abstract_params, lambda leaf: jax.eval_shape(Int8Kernel.of, leaf)
        ),
    )


def with_kernels(model: FunctionalModel, tree: Tree, replace: Callable[[Any], Any]) -> Tree:
    """Return a tree like the parameters with something else in the place of every kernel of layers."""
    return jax.tree.map(
        lambda axes, leaf: replace(leaf) if is_layer_kernel(axes) else leaf,
        model.logical_axes,
        tree,
        is_leaf=is_logical_axes,
    )

"""What an optimizer is to the train step, and how logical axes say what is a matrix."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.growth import Growth
from t5lite.core.logical_axes import MATRIX_SIDES, RANK
from t5lite.core.types import LogicalAxes, Tree
from t5lite.cpu.sums import sum_of_squares

ScheduleFn: TypeAlias = Callable[[Any], jax.Array]
"""Learning rate of the update that follows ``step`` completed updates (float32 scalar)."""


def _everything(params: Tree) -> Tree:
    return params


class Optimizer(NamedTuple):
    """Pure functions over the nested dict of parameters; all state is float32 (counters int32).

    Like an optax ``GradientTransformation``, with three additions: the logical axes of the state, by
    which it is sharded, the learning rate, so that the train step can report what is applied, and which
    parameters are trained, so that no gradient is taken of the others.
    """

    init: Callable[[Tree], Tree]
    """``params -> opt_state``; jit-able, and good under ``eval_shape``."""
    update: Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]
    """``(grads, opt_state, params) -> (updates, opt_state)``; ``updates`` are float32 and to be added.
    Gradients and updates are of what is ``trained``, the parameters are all."""
    state_axes: Callable[[Tree], Tree]
    """``abstract opt_state -> the same structure with a tuple of logical axes for every leaf``."""
    learning_rate: Callable[[Tree], jax.Array]
    """``opt_state -> learning rate`` of the next update. The state counts completed updates, so a step
    whose update was skipped does not move the schedule."""
    trained: Callable[[Tree], Tree] = _everything
    """A tree like the parameters (of arrays, axes, shardings …) -> what it has of those that are trained."""


class BaseOptimizer(ABC):
    """What every optimizer's configuration answers; each is a frozen dataclass."""

    @abstractmethod
    def build(
        self,
        schedule: ScheduleFn,
        logical_axes: Tree,
        rate_factors: Tree | None = None,
        decay_factors: Tree | None = None,
    ) -> Optimizer:
        """Return the optimizer for parameters with these logical axes (nested dict of tuples).

        Args:
          schedule: learning rate.
          logical_axes: of the parameters.
          rate_factors: what multiplies the learning rate of each parameter: a number, or an array that the
            parameter is broadcast with; None: 1.
          decay_factors: what multiplies besides the weight decay that the learning rate multiplies; None: 1.
        """

    def rate_factor(self, growth: Growth, axes: LogicalAxes) -> float:
        """Return what multiplies the learning rate of a parameter of a model that has grown.

        That of an optimizer whose updates have the size of the learning rate, whatever the gradient's.
        """
        del axes
        return growth.update


class MatrixDims(NamedTuple):
    """The two dimensions of a parameter that is a matrix, or one a layer; ``embed`` gives the rows."""

    row: int
    column: int


def matrix_dims(axes: LogicalAxes) -> MatrixDims | None:
    """Return the row and column dimensions, or None for scales and relative-position tables.

    The rank of a low-rank factor is whichever side its other dimension is not.
    """
    sides = [MATRIX_SIDES.get(axis or "") for axis in axes]
    rows, columns = ([d for d, each in enumerate(sides) if each == side] for side in ("row", "column"))
    if RANK in axes:
        (rows if columns else columns).append(axes.index(RANK))
    if len(rows) == len(columns) == 1 and len(within_layer_dims(axes)) == 2:
        return MatrixDims(rows[0], columns[0])
    return None


def within_layer_dims(axes: LogicalAxes) -> tuple[int, ...]:
    """Return the dimensions of one layer's parameter: all but ``layers``.

    Statistics are taken over these, so that they do not depend on whether layers are stacked.
    """
    return tuple(d for d, axis in enumerate(axes) if axis != "layers")


def per_layer_rms(x: jax.Array, axes: LogicalAxes) -> jax.Array:
    """Return the root mean square of each layer's slice, kept broadcastable to ``x``."""
    dims = within_layer_dims(axes)
    size = float(math.prod(x.shape[d] for d in dims))  # of a large table beyond JAX's integers
    return jnp.sqrt(sum_of_squares(x, dims) / size)


def global_norm(tree: Tree) -> jax.Array:
    """Return the root of the sum of the squares of all numbers in a tree (float32 scalar)."""
    sums = [sum_of_squares(x, tuple(range(x.ndim))).reshape(()) for x in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(sums, jnp.float32(0)))


def unit_factors(logical_axes: Tree) -> Tree:
    """Return factors of the learning rate that leave it as it is for every parameter."""
    return jax.tree.map(lambda _: 1.0, logical_axes, is_leaf=lambda x: isinstance(x, tuple))


def learning_rates(rate: jax.Array, factors: Tree) -> Tree:
    """Return the learning rate of every parameter: that of the schedule, times its factor, or one a layer."""
    return jax.tree.map(
        lambda factor: rate if np.ndim(factor) == 0 and factor == 1 else factor * rate, factors
    )


def to_float32(tree: Tree) -> Tree:
    """Return the tree with float32 leaves."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

"""Adafactor (Shazeer and Stern, 2018), with the semantics of T5X."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes, Tree
from t5lite.optim.base import (
    BaseOptimizer,
    MatrixDims,
    Optimizer,
    ScheduleFn,
    learning_rates,
    matrix_dims,
    per_layer_rms,
    unit_factors,
)

_GRADIENT_FLOOR = 1e-30
"""Added to squared gradients (T5X ``epsilon1``)."""


class AdafactorState(NamedTuple):
    """``moments`` mirrors the parameters, each leaf a dict: {row, column} if factored, else {full}."""

    count: Any
    moments: Tree


@dataclass(frozen=True, kw_only=True)
class AdafactorConfig(BaseOptimizer):
    """Adafactor without momentum: second moments factored into rows and columns of each matrix.

    Follows T5X: RMS, clip and parameter scale are taken per layer of a stack. Deviation:
    ``min_dim_size_to_factor`` holds for stacked parameters too, where T5X factors whatever their size; so
    stacking cannot change the result.

    Scales that start at 0 (``RMSNorm(one_plus=True)``, Gemma's) begin at ``parameter_scale_floor``, where
    they move 1,000 times slower than T5's, which start at 1. AdamW moves both alike; here a factor of
    ``learning_rate_factors`` makes up for a part of it.
    """

    decay_exponent: float = 0.8
    """Second moments decay by 1 - t^-decay_exponent at update t."""
    clip_update_rms: float | None = 1.0
    """Scale an update down to this RMS before the learning rate; None = never."""
    multiply_by_parameter_scale: bool = True
    """Make the learning rate relative to the RMS of each parameter."""
    parameter_scale_floor: float = 1e-3
    """Least RMS taken for a parameter: what one that is 0 moves by."""
    min_dim_size_to_factor: int = 128
    """Factor a matrix only if it has as many rows and columns."""
    weight_decay: float = 0.0
    """Fraction that matrices lose at every update, not multiplied by the learning rate (as T5X)."""

    def __post_init__(self) -> None:
        if self.decay_exponent <= 0:
            raise ConfigError(f"optimizer.decay_exponent={self.decay_exponent} must be above 0 (T5 uses 0.8)")
        if self.clip_update_rms is not None and self.clip_update_rms <= 0:
            raise ConfigError(f"optimizer.clip_update_rms={self.clip_update_rms} must be above 0, or None")
        if self.parameter_scale_floor <= 0:
            raise ConfigError(f"optimizer.parameter_scale_floor={self.parameter_scale_floor} must be above 0")
        if self.min_dim_size_to_factor < 1:
            raise ConfigError(
                f"optimizer.min_dim_size_to_factor={self.min_dim_size_to_factor} must be 1 or more"
            )
        if not 0 <= self.weight_decay < 1:
            raise ConfigError(f"optimizer.weight_decay={self.weight_decay} must be in [0, 1)")

    def rate_factor(self, growth: Growth, axes: LogicalAxes) -> float:
        """Return what multiplies the learning rate of a parameter of a model that has grown."""
        del axes
        return growth.update / growth.initial if self.multiply_by_parameter_scale else growth.update

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
          rate_factors: what multiplies the learning rate of each parameter, as its scale does; None: 1.
          decay_factors: changes nothing, for the learning rate does not multiply the weight decay.
        """
        del decay_factors
        factors = rate_factors or unit_factors(logical_axes)

        def init(params: Tree) -> AdafactorState:
            moments = jax.tree.map(self._init_moment, params, logical_axes)
            return AdafactorState(count=jnp.zeros((), jnp.int32), moments=moments)

        def learning_rate(opt_state: AdafactorState) -> jax.Array:
            return schedule(opt_state.count)

        def update(grads: Tree, opt_state: AdafactorState, params: Tree) -> tuple[Tree, AdafactorState]:
            decay = 1.0 - (opt_state.count.astype(jnp.float32) + 1.0) ** -self.decay_exponent
            rates = jax.tree.leaves(learning_rates(learning_rate(opt_state), factors))
            leaves, structure = jax.tree.flatten(params)
            moments = structure.flatten_up_to(opt_state.moments)
            axes = structure.flatten_up_to(logical_axes)
            updates, new_moments = [], []
            for param, grad, moment, names, rate in zip(
                leaves, jax.tree.leaves(grads), moments, axes, rates, strict=True
            ):
                direction, moment = _precondition(grad.astype(jnp.float32), moment, decay, names)
                updates.append(self._update(direction, param.astype(jnp.float32), rate, names))
                new_moments.append(moment)
            state = AdafactorState(count=opt_state.count + 1, moments=structure.unflatten(new_moments))
            return structure.unflatten(updates), state

        def state_axes(abstract_opt_state: AdafactorState) -> AdafactorState:
            structure = jax.tree.structure(logical_axes, is_leaf=lambda x: isinstance(x, tuple))
            moments = structure.flatten_up_to(abstract_opt_state.moments)
            axes = structure.flatten_up_to(logical_axes)
            named = [_moment_axes(moment, names) for moment, names in zip(moments, axes, strict=True)]
            return AdafactorState(count=(), moments=structure.unflatten(named))

        return Optimizer(init=init, update=update, state_axes=state_axes, learning_rate=learning_rate)

    def _factored_dims(self, shape: tuple[int, ...], axes: LogicalAxes) -> MatrixDims | None:
        dims = matrix_dims(axes)
        if dims is None or min(shape[d] for d in dims) < self.min_dim_size_to_factor:
            return None
        return dims

    def _init_moment(self, param: Any, axes: LogicalAxes) -> dict[str, jax.Array]:
        dims = self._factored_dims(param.shape, axes)
        if dims is None:
            return {"full": jnp.zeros(param.shape, jnp.float32)}
        return {
            "row": jnp.zeros(_without(param.shape, dims.column), jnp.float32),
            "column": jnp.zeros(_without(param.shape, dims.row), jnp.float32),
        }

    def _update(
        self, direction: jax.Array, param: jax.Array, learning_rate: jax.Array, axes: LogicalAxes
    ) -> jax.Array:
        """Clip the preconditioned gradient, scale it by the parameter, and decay the weights."""
        if self.clip_update_rms is not None:
            direction /= jnp.maximum(1.0, per_layer_rms(direction, axes) / self.clip_update_rms)
        update = -learning_rate * direction
        if self.multiply_by_parameter_scale:
            update *= jnp.maximum(per_layer_rms(param, axes), self.parameter_scale_floor)
        if self.weight_decay and matrix_dims(axes) is not None:
            update -= self.weight_decay * param
        return update


def _precondition(
    grad: jax.Array, moment: dict[str, jax.Array], decay: jax.Array, axes: LogicalAxes
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return ``grad`` over the root of its (factored) second moment, and the new moment."""
    squared = jnp.square(grad) + _GRADIENT_FLOOR
    if "full" in moment:
        full = decay * moment["full"] + (1.0 - decay) * squared
        return grad * jax.lax.rsqrt(full), {"full": full}
    dims = matrix_dims(axes)
    assert dims is not None
    row = decay * moment["row"] + (1.0 - decay) * jnp.mean(squared, axis=dims.column)
    column = decay * moment["column"] + (1.0 - decay) * jnp.mean(squared, axis=dims.row)
    row_factor = jnp.expand_dims(row, dims.column)
    row_factor /= jnp.mean(row_factor, axis=dims.row, keepdims=True)
    column_factor = jnp.expand_dims(column, dims.row)
    return grad * jax.lax.rsqrt(row_factor) * jax.lax.rsqrt(column_factor), {"row": row, "column": column}


def _moment_axes(moment: dict[str, Any], axes: LogicalAxes) -> dict[str, LogicalAxes]:
    dims = matrix_dims(axes)
    if "full" in moment or dims is None:
        return {"full": axes}
    return {"row": _without(axes, dims.column), "column": _without(axes, dims.row)}


def _without(items: tuple, dim: int) -> tuple:
    return items[:dim] + items[dim + 1 :]

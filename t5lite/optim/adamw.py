"""AdamW, optionally with nanoT5's scaling of the update by the RMS of the parameter."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes, Tree
from t5lite.optim.base import (
    BaseOptimizer,
    Optimizer,
    ScheduleFn,
    learning_rates,
    matrix_dims,
    per_layer_rms,
    to_float32,
    unit_factors,
)


@dataclass(frozen=True, kw_only=True)
class AdamWConfig(BaseOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter), as torch: ``lr * weight_decay * p``."""

    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.999
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Times the learning rate; on matrices only, never on norm scales or relative-position tables."""
    multiply_by_parameter_rms: bool = False
    """Make the learning rate relative to the RMS of each layer's parameter (nanoT5), as Adafactor does."""
    parameter_rms_floor: float = 1e-3
    """Least RMS taken for a parameter."""

    def __post_init__(self) -> None:
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"optimizer.{name}={getattr(self, name)} must be in [0, 1)")
        if self.eps <= 0 or self.parameter_rms_floor <= 0:
            raise ConfigError(
                f"optimizer.eps={self.eps} and parameter_rms_floor={self.parameter_rms_floor} must be above 0"
            )
        if self.weight_decay < 0:
            raise ConfigError(f"optimizer.weight_decay={self.weight_decay} must be 0 or more")

    def rate_factor(self, growth: Growth, axes: LogicalAxes) -> float:
        """Return what multiplies the learning rate of a parameter of a model that has grown."""
        del axes
        return growth.update / growth.initial if self.multiply_by_parameter_rms else growth.update

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
          rate_factors: what multiplies the learning rate of each parameter; None: 1.
          decay_factors: what multiplies the weight decay besides; None: 1.
        """
        decays = decay_factors or unit_factors(logical_axes)
        factors = rate_factors or unit_factors(logical_axes)
        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)

        def leaf_update(direction: jax.Array, param: jax.Array, axes: tuple, decay: float) -> jax.Array:
            if self.multiply_by_parameter_rms:
                direction *= jnp.maximum(per_layer_rms(param, axes), self.parameter_rms_floor)
            if self.weight_decay and matrix_dims(axes) is not None:
                direction += self.weight_decay * decay * param
            return direction

        def init(params: Tree) -> Tree:
            return adam.init(to_float32(params))

        def learning_rate(opt_state: Tree) -> jax.Array:
            return schedule(opt_state.count)

        def update(grads: Tree, opt_state: Tree, params: Tree) -> tuple[Tree, Tree]:
            rates = learning_rates(learning_rate(opt_state), factors)
            directions, state = adam.update(to_float32(grads), opt_state)
            directions = jax.tree.map(leaf_update, directions, to_float32(params), logical_axes, decays)
            return jax.tree.map(lambda d, rate: -rate * d, directions, rates), state

        def state_axes(abstract_opt_state: Tree) -> Tree:
            return abstract_opt_state._replace(count=(), mu=logical_axes, nu=logical_axes)

        return Optimizer(init=init, update=update, state_axes=state_axes, learning_rate=learning_rate)

"""An exponential moving average of the parameters, kept beside them as a part of the optimizer's state."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from t5lite.core.types import Tree
from t5lite.optim.base import Optimizer, to_float32


class AveragedState(NamedTuple):
    """The state of an optimizer that also averages."""

    count: Any
    """Completed updates."""
    average: Tree
    """Of the trained parameters, float32; before the first update these themselves."""
    inner: Tree
    """Of the optimizer."""


def with_average(optimizer: Optimizer, decay: float, logical_axes: Tree) -> Optimizer:
    """Return the optimizer, which keeps an average of what it trains and changes nothing else.

    After update t it is the mean of the parameters after updates 1 to t, that after update i weighted by
    decay^(t - i): the average that starts at 0, with Adam's correction of its bias. So it forgets what the
    parameters were at the start at once, and the first average is the parameters after the first update.

    Args:
      optimizer: of the trained parameters.
      decay: between 0 and 1; it averages over about the last 1 / (1 - decay) updates.
      logical_axes: of the trained parameters, by which the average is sharded like them.
    """

    def init(params: Tree) -> AveragedState:
        return AveragedState(
            count=jnp.zeros((), jnp.int32),
            average=to_float32(optimizer.trained(params)),
            inner=optimizer.init(params),
        )

    def update(grads: Tree, state: AveragedState, params: Tree) -> tuple[Tree, AveragedState]:
        updates, inner = optimizer.update(grads, state.inner, params)
        trained = to_float32(optax.apply_updates(optimizer.trained(params), updates))
        weight = (1 - decay) / -jnp.expm1((state.count + 1).astype(jnp.float32) * math.log(decay))
        average = jax.tree.map(lambda old, new: old + weight * (new - old), state.average, trained)
        return updates, AveragedState(count=state.count + 1, average=average, inner=inner)

    def state_axes(abstract: AveragedState) -> AveragedState:
        return AveragedState(count=(), average=logical_axes, inner=optimizer.state_axes(abstract.inner))

    return optimizer._replace(
        init=init,
        update=update,
        state_axes=state_axes,
        learning_rate=lambda state: optimizer.learning_rate(state.inner),
    )

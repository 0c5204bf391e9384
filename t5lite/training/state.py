"""The training state: step, parameters, optimizer state, and where each of its arrays lives."""

import dataclasses

import jax
import jax.numpy as jnp

from t5lite.core.types import Tree
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a training run carries from one step to the next.

    There is no random key and no data state: the randomness and the batch of a step are functions of the
    configuration and ``step``. The same structure also holds shapes, logical axes or shardings.
    """

    step: Tree
    """int32 scalar: steps done, hence also the number of the step that comes next, counted from 0."""
    params: Tree
    opt_state: Tree


def trained_alone(state: TrainState, optimizer: Optimizer) -> TrainState:
    """Return the state without the parameters that are not trained: what an adapter's checkpoint holds."""
    return dataclasses.replace(state, params=optimizer.trained(state.params))


def state_axes(model: FunctionalModel, optimizer: Optimizer) -> TrainState:
    """Return the state's structure with a tuple of logical axes for every array."""
    abstract_opt_state = jax.eval_shape(optimizer.init, model.abstract_params)
    return TrainState(step=(), params=model.logical_axes, opt_state=optimizer.state_axes(abstract_opt_state))


def state_shardings(model: FunctionalModel, optimizer: Optimizer, partitioner: Partitioner) -> TrainState:
    """Return the state's structure with a ``NamedSharding`` for every array."""
    return partitioner.tree_shardings(state_axes(model, optimizer), abstract_state(model, optimizer))


def abstract_state(
    model: FunctionalModel, optimizer: Optimizer, partitioner: Partitioner | None = None
) -> TrainState:
    """Return the state as ``ShapeDtypeStruct``s, with shardings if a partitioner is given.

    With shardings it is what ``Checkpoints.restore`` restores into. No device is touched.
    """
    state = TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32),
        params=model.abstract_params,
        opt_state=jax.eval_shape(optimizer.init, model.abstract_params),
    )
    if partitioner is None:
        return state
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        state_shardings(model, optimizer, partitioner),
    )


def init_state(
    model: FunctionalModel, optimizer: Optimizer, key: jax.Array, partitioner: Partitioner
) -> TrainState:
    """Return the state at step 0 with random parameters; every shard is created where it lives."""

    def init(key: jax.Array) -> TrainState:
        return _at_step_zero(model.init(key), optimizer)

    return jax.jit(init, out_shardings=state_shardings(model, optimizer, partitioner))(key)


def state_from_params(
    params: Tree, model: FunctionalModel, optimizer: Optimizer, partitioner: Partitioner
) -> TrainState:
    """Return the state at step 0 with the given parameters: the start of fine-tuning. Donates ``params``."""
    shardings = state_shardings(model, optimizer, partitioner)
    params = jax.device_put(params, shardings.params)

    def init(params: Tree) -> TrainState:
        return _at_step_zero(params, optimizer)

    return jax.jit(init, out_shardings=shardings, donate_argnums=0)(params)


def _at_step_zero(params: Tree, optimizer: Optimizer) -> TrainState:
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params))

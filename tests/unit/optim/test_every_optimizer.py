"""What holds for every entry of ``OPTIMIZERS``."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5lite.optim import OPTIMIZERS, SCHEDULES, Constant, MuonConfig, OptimizerConfig, Schedule
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.partitioning.rules import is_logical_axes

AXES = {
    "embedding": ("vocab", "embed"),
    "encoder": {
        "q": ("layers", "embed", "heads"),
        "o": ("layers", "heads", "embed"),
        "wi": ("layers", "embed", "mlp"),
        "norm": ("layers", "embed"),
        "relpos": ("relpos_buckets", "heads"),
    },
}
SIZES = {"vocab": 160, "embed": 128, "heads": 128, "layers": 2, "mlp": 256, "relpos_buckets": 32}


@pytest.fixture(params=sorted(OPTIMIZERS))
def kind(request):
    return OPTIMIZERS[request.param]


@pytest.fixture
def optimizer(kind):
    return kind().build(Constant(value=0.05).build(100), AXES)


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda axes: jnp.asarray(rng.standard_normal([SIZES[a] for a in axes]), jnp.float32),
        AXES,
        is_leaf=is_logical_axes,
    )


def test_state_axes_mirror_the_state_and_can_be_sharded(optimizer, params):
    state = jax.eval_shape(optimizer.init, params)
    axes = optimizer.state_axes(state)
    assert jax.tree.structure(axes, is_leaf=is_logical_axes) == jax.tree.structure(state)
    partitioner = abstract_partitioner(PartitioningConfig(fsdp=2, tensor=4, style="tensor_parallel"), 8)
    partitioner.tree_shardings(axes, state)  # every array has as many axes as dimensions


def test_it_takes_tables_of_more_than_two_billion_numbers(optimizer):
    """JAX's integers have 32 bits; a vocabulary of 256,000 on 16,384 wide has 4.2 billion numbers."""
    sizes = SIZES | {"vocab": 256_000, "embed": 16_384, "mlp": 1 << 18, "heads": 1 << 17}
    params = jax.tree.map(
        lambda axes: jax.ShapeDtypeStruct([sizes[a] for a in axes], jnp.float32),
        AXES,
        is_leaf=is_logical_axes,
    )
    state = jax.eval_shape(optimizer.init, params)
    updates, after = jax.eval_shape(optimizer.update, params, state, params)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_it_is_one_compilation_and_descends(optimizer, params):
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)
        loss, grads = jax.value_and_grad(
            lambda p: 0.5 * sum(jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves(p))
        )(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(10):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert len(traces) == 1
    assert losses[-1] < 0.8 * losses[0]


def test_the_learning_rate_follows_completed_updates(kind, params):
    schedule = Constant(value=0.1, warmup_steps=10).build(100)
    optimizer = kind().build(schedule, AXES)
    state = optimizer.init(params)
    for done in range(3):
        assert float(optimizer.learning_rate(state)) == pytest.approx(0.01 * (done + 1))
        _, state = optimizer.update(params, state, params)


def test_tables_are_the_unions_that_configurations_take():
    """The union is the one line that a new optimizer or schedule needs; JSON tags and tables follow."""
    assert set(OPTIMIZERS.values()) == set(get_args(OptimizerConfig))
    assert set(SCHEDULES.values()) == set(get_args(Schedule))
    assert OPTIMIZERS["MuonConfig"] is MuonConfig

"""The moving average that an optimizer keeps beside the parameters."""

import jax
import numpy as np
import optax
import pytest

from t5lite.optim import OPTIMIZERS, Constant
from t5lite.optim.averaging import with_average
from t5lite.optim.trained import merged, resolve_trained
from t5lite.partitioning.rules import is_logical_axes
from tests.unit.optim.test_trained import AXES, by_path, random_tree

DECAY = 0.8
NUM_STEPS = 5


@pytest.fixture(params=sorted(OPTIMIZERS), scope="module")
def optimizer(request):
    schedule = Constant(value=0.05).build(100)
    trained = resolve_trained(("!table",), (), AXES)
    kind = OPTIMIZERS[request.param]
    return trained.optimizer(lambda axes, rates: kind().build(schedule, axes, rates), AXES)


def trajectory(optimizer):
    """Return the parameters and the state after every update, those at the start first."""
    params, update = random_tree(0), jax.jit(optimizer.update)
    steps = [(params, optimizer.init(params))]
    for step in range(NUM_STEPS):
        params, state = steps[-1]
        updates, state = update(optimizer.trained(random_tree(step + 1)), state, params)
        steps.append((merged(params, optax.apply_updates(optimizer.trained(params), updates)), state))
    return steps


def test_it_is_the_weighted_mean_of_what_the_updates_made_and_moves_nothing(optimizer):
    alone = trajectory(optimizer)
    averaged = with_average(optimizer, DECAY, optimizer.trained(AXES))
    steps = trajectory(averaged)
    made = [by_path(optimizer.trained(params)) for params, _ in alone]
    for number, (params, state) in enumerate(steps):
        for path, value in by_path(params).items():
            np.testing.assert_array_equal(value, by_path(alone[number][0])[path], err_msg=path)
        assert float(averaged.learning_rate(state)) == pytest.approx(0.05)
        weights = [DECAY ** (number - update) for update in range(1, number + 1)] or [1.0]
        found = by_path(state.average)
        assert found.keys() == made[0].keys()  # of what is trained
        for path, value in found.items():
            values = [np.float64(each[path]) for each in made[1 : number + 1] or made[:1]]
            want = np.average(values, axis=0, weights=weights)
            np.testing.assert_allclose(value, want, rtol=2e-5, atol=1e-6, err_msg=path)


def test_its_state_is_sharded_as_the_parameters_and_the_optimizers_own_are(optimizer):
    axes = optimizer.trained(AXES)
    averaged = with_average(optimizer, DECAY, axes)
    abstract = jax.eval_shape(averaged.init, random_tree(0))
    named = averaged.state_axes(abstract)
    assert jax.tree.structure(named, is_leaf=is_logical_axes) == jax.tree.structure(abstract)
    assert named.average == axes

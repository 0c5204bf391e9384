"""Adafactor against a float64 NumPy version, against optax on a matrix, and against itself unstacked."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5lite.core.errors import ConfigError
from t5lite.optim import AdafactorConfig, Constant
from t5lite.partitioning.rules import is_logical_axes

CONFIG = AdafactorConfig(min_dim_size_to_factor=8)
SHAPES_AND_AXES = {
    "factored": ((16, 8), ("embed", "mlp")),
    "too_small_to_factor": ((16, 7), ("embed", "mlp")),
    "attention_query": ((16, 8), ("embed", "heads")),
    "attention_out": ((8, 16), ("heads", "embed")),
    "norm_scale": ((16,), ("embed",)),
    "relative_bias": ((32, 8), ("relpos_buckets", "heads")),
    "embedding": ((24, 16), ("vocab", "embed")),
}


def numpy_adafactor(param, grads, rate, *, factored):
    """Update one layer's parameter, float64."""
    moment_row = moment_column = moment = 0.0
    param = param.astype(np.float64)
    for step, grad in enumerate(grads):
        decay = 1 - (step + 1.0) ** -0.8
        grad = grad.astype(np.float64)
        squared = grad**2 + 1e-30
        if factored:
            moment_row = decay * moment_row + (1 - decay) * squared.mean(1)
            moment_column = decay * moment_column + (1 - decay) * squared.mean(0)
            estimate = np.outer(moment_row, moment_column) / moment_row.mean()
        else:
            estimate = moment = decay * moment + (1 - decay) * squared
        update = grad / np.sqrt(estimate)
        update /= max(1.0, np.sqrt(np.mean(update**2)))
        scale = max(np.sqrt(np.mean(param**2)), 1e-3)
        param = param - rate * scale * update
    return param


def run(config, params, axes, grads_by_step, rate=0.05):
    optimizer = config.build(Constant(value=rate).build(100), axes)
    state = optimizer.init(params)
    step = jax.jit(optimizer.update)
    for grads in grads_by_step:
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def random_tree(rng, scale, layers=None):
    prefix = () if layers is None else (layers,)
    return {
        name: (scale * rng.standard_normal(prefix + shape)).astype(np.float32)
        for name, (shape, _) in SHAPES_AND_AXES.items()
    }


@pytest.mark.parametrize("param_scale", [0.5, 1e-5], ids=["scaled", "scale_floor"])
def test_equals_float64_numpy(param_scale):
    rng = np.random.default_rng(0)
    params = random_tree(rng, param_scale)
    # Growing gradients make the update RMS exceed 1, so that clipping acts too.
    grads_by_step = [random_tree(rng, 10.0**step) for step in range(6)]
    axes = {name: axes for name, (_, axes) in SHAPES_AND_AXES.items()}
    got, state = run(CONFIG, params, axes, grads_by_step)
    for name in SHAPES_AND_AXES:
        factored = name in ("factored", "attention_query", "attention_out", "embedding")
        grads = [each[name] for each in grads_by_step]
        want = numpy_adafactor(params[name], grads, 0.05, factored=factored)
        # Entries that cross zero are compared at the scale of their parameter.
        np.testing.assert_allclose(got[name], want, rtol=2e-5, atol=1e-6 * np.abs(want).max(), err_msg=name)
        assert ("full" in state.moments[name]) != factored


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_result_does_not_depend_on_stacking(weight_decay):
    rng = np.random.default_rng(1)
    config = AdafactorConfig(min_dim_size_to_factor=8, weight_decay=weight_decay)
    stacked = random_tree(rng, 1.0, layers=3)
    # Layers of very different size: one scale or clip over the stack would show.
    stacked = {k: v * np.array([0.01, 1.0, 30.0]).reshape(3, *[1] * (v.ndim - 1)) for k, v in stacked.items()}
    stacked = jax.tree.map(lambda x: x.astype(np.float32), stacked)
    grads_by_step = [random_tree(rng, 3.0**step, layers=3) for step in range(5)]
    axes = {name: axes for name, (_, axes) in SHAPES_AND_AXES.items()}
    got, _ = run(config, stacked, {name: ("layers", *a) for name, a in axes.items()}, grads_by_step)
    for layer in range(3):
        layer_grads = [{name: grad[layer] for name, grad in grads.items()} for grads in grads_by_step]
        alone, _ = run(config, {name: param[layer] for name, param in stacked.items()}, axes, layer_grads)
        for name, want in alone.items():
            np.testing.assert_allclose(got[name][layer], want, rtol=1e-5, atol=1e-6, err_msg=name)


def test_equals_optax_on_a_matrix():
    rng = np.random.default_rng(2)
    params = {"w": rng.standard_normal((12, 20)).astype(np.float32)}
    grads_by_step = [{"w": rng.standard_normal((12, 20)).astype(np.float32)} for _ in range(6)]
    got, _ = run(CONFIG, params, {"w": ("embed", "mlp")}, grads_by_step)
    reference = optax.adafactor(0.05, min_dim_size_to_factor=8)
    state, want = reference.init(params), params
    for grads in grads_by_step:
        updates, state = reference.update(grads, state, want)
        want = optax.apply_updates(want, updates)
    np.testing.assert_allclose(got["w"], want["w"], rtol=1e-5, atol=1e-6)


def test_zero_gradients_change_nothing():
    rng = np.random.default_rng(3)
    params = random_tree(rng, 1.0)
    axes = {name: axes for name, (_, axes) in SHAPES_AND_AXES.items()}
    got, _ = run(CONFIG, params, axes, [jax.tree.map(np.zeros_like, params)] * 2)
    jax.tree.map(np.testing.assert_array_equal, got, params)


def test_bfloat16_parameters_keep_float32_state():
    params = {"w": jnp.ones((8, 8), jnp.bfloat16)}
    optimizer = CONFIG.build(Constant().build(10), {"w": ("embed", "mlp")})
    updates, state = optimizer.update(params, optimizer.init(params), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.moments)} == {np.dtype("float32")}
    assert updates["w"].dtype == np.float32
    assert state.count == 1


def test_state_axes_drop_what_was_averaged_away():
    params = {"q": jnp.zeros((3, 16, 8)), "o": jnp.zeros((3, 8, 16)), "scale": jnp.zeros((3, 16))}
    axes = {
        "q": ("layers", "embed", "heads"),
        "o": ("layers", "heads", "embed"),
        "scale": ("layers", "embed"),
    }
    optimizer = CONFIG.build(Constant().build(10), axes)
    state = jax.eval_shape(optimizer.init, params)
    named = optimizer.state_axes(state)
    assert named.moments["q"] == {"row": ("layers", "embed"), "column": ("layers", "heads")}
    assert named.moments["o"] == {"row": ("layers", "embed"), "column": ("layers", "heads")}
    assert named.moments["scale"] == {"full": ("layers", "embed")}
    leaves = jax.tree.leaves(named, is_leaf=is_logical_axes)
    assert [len(leaf_axes) for leaf_axes in leaves] == [x.ndim for x in jax.tree.leaves(state)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"decay_exponent": 0.0},
        {"clip_update_rms": 0.0},
        {"parameter_scale_floor": -1.0},
        {"min_dim_size_to_factor": 0},
        {"weight_decay": 1.0},
    ],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AdafactorConfig(**wrong)

"""Muon: which parameters it takes, what an update looks like, and that stacking does not matter."""

import jax
import numpy as np
import optax
import pytest

from t5lite.core.errors import ConfigError
from t5lite.optim import AdamWConfig, Constant, MuonConfig

LAYER_AXES = {
    "q": ("embed", "heads"),
    "o": ("heads", "embed"),
    "wi": ("embed", "mlp"),
    "scale": ("embed",),
}
SHAPES = {"q": (8, 6), "o": (6, 8), "wi": (8, 16), "scale": (8,)}


def random_tree(rng, prefix=()):
    return {name: rng.standard_normal(prefix + shape).astype(np.float32) for name, shape in SHAPES.items()}


def run(params, axes, grads_by_step, config):
    optimizer = config.build(Constant(value=0.02).build(10), axes)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for grads in grads_by_step:
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_update_of_a_stack_matrix_is_nearly_orthogonal_with_the_given_rms():
    rng = np.random.default_rng(0)
    params, grads = random_tree(rng), random_tree(rng)
    optimizer = MuonConfig(update_rms=0.2).build(Constant(value=1.0).build(10), LAYER_AXES)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for name in ("q", "o", "wi"):
        direction = -np.asarray(updates[name])
        shorter, longer = sorted(direction.shape)
        singular = np.linalg.svd(direction / (0.2 * np.sqrt(longer)), compute_uv=False)
        # Five Newton-Schulz iterations bring the singular values near 1, not onto it.
        assert singular.min() > 0.3, name
        assert singular.max() < 1.4, name
        left, _, right = np.linalg.svd(grads[name], full_matrices=False)
        assert np.sum(direction * (left @ right)) > 0.9 * np.linalg.norm(direction) * np.sqrt(shorter)


def test_result_does_not_depend_on_stacking():
    rng = np.random.default_rng(1)
    config = MuonConfig(weight_decay=0.1)
    stacked = random_tree(rng, (3,))
    grads_by_step = [random_tree(rng, (3,)) for _ in range(3)]
    got = run(stacked, {name: ("layers", *axes) for name, axes in LAYER_AXES.items()}, grads_by_step, config)
    for layer in range(3):
        layer_grads = [{k: v[layer] for k, v in grads.items()} for grads in grads_by_step]
        want = run({k: v[layer] for k, v in stacked.items()}, LAYER_AXES, layer_grads, config)
        for name in SHAPES:
            np.testing.assert_allclose(got[name][layer], want[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_embeddings_logits_and_norms_take_adamw():
    rng = np.random.default_rng(2)
    axes = {
        "embedding": ("vocab", "embed"),
        "logits": ("embed", "vocab"),
        "norm": ("embed",),
        "wi": ("embed", "mlp"),
    }
    shapes = {"embedding": (12, 8), "logits": (8, 12), "norm": (8,), "wi": (8, 16)}
    params = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    grads_by_step = [
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(3)
    ]
    adamw = AdamWConfig(weight_decay=0.2)
    got = run(params, axes, grads_by_step, MuonConfig(adamw=adamw))
    want = run(params, axes, grads_by_step, adamw)
    for name in ("embedding", "logits", "norm"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-6, err_msg=name)
    assert np.abs(got["wi"] - want["wi"]).max() > 1e-3


@pytest.mark.parametrize(
    "wrong", [{"momentum": 1.0}, {"newton_schulz_steps": 0}, {"update_rms": 0.0}, {"weight_decay": -1.0}]
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MuonConfig(**wrong)

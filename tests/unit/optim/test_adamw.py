"""AdamW against torch, nanoT5's RMS scaling, and who is decayed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from t5lite.core.errors import ConfigError
from t5lite.optim import AdamWConfig, Constant, WarmupCosine

AXES = {"w": ("embed", "mlp"), "scale": ("embed",), "relpos": ("relpos_buckets", "heads")}


def tree(rng):
    return {
        "w": rng.standard_normal((6, 5)).astype(np.float32),
        "scale": rng.standard_normal(6).astype(np.float32),
        "relpos": rng.standard_normal((4, 3)).astype(np.float32),
    }


def test_equals_torch_with_a_schedule_and_decay_on_matrices_only():
    rng = np.random.default_rng(0)
    params = tree(rng)
    schedule = WarmupCosine(peak=0.1, warmup_steps=3, final_fraction=0.1).build(8)
    optimizer = AdamWConfig(b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.3).build(schedule, AXES)
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    reference = torch.optim.AdamW(
        [
            {"params": [tensors["w"]], "weight_decay": 0.3},
            {"params": [tensors["scale"], tensors["relpos"]], "weight_decay": 0.0},
        ],
        betas=(0.8, 0.95),
        eps=1e-6,
    )
    state = optimizer.init(params)
    for step in range(8):
        grads = tree(rng)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for group in reference.param_groups:
            group["lr"] = float(schedule(step))
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
        reference.step()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_rms_scaling_is_per_layer_and_has_a_floor():
    rng = np.random.default_rng(1)
    sizes = np.array([1e-6, 0.5, 20.0], np.float32).reshape(3, 1, 1)
    signs = np.sign(rng.standard_normal((3, 4, 5))).astype(np.float32)
    params, grads = {"w": sizes * signs}, {"w": rng.standard_normal((3, 4, 5)).astype(np.float32)}
    axes = {"w": ("layers", "embed", "mlp")}
    optimizer = AdamWConfig(multiply_by_parameter_rms=True).build(Constant(value=0.01).build(5), axes)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    # Adam's first direction is the sign of the gradient, and every entry has the size of its layer.
    want = -0.01 * np.maximum(sizes, 1e-3) * np.sign(grads["w"])
    # (1 - b2^t in float32 is good to four digits at t = 1.)
    np.testing.assert_allclose(updates["w"], want, rtol=1e-4)


def test_bfloat16_parameters_keep_float32_state():
    params = {"w": jnp.ones((8, 8), jnp.bfloat16)}
    optimizer = AdamWConfig().build(Constant().build(10), {"w": ("embed", "mlp")})
    updates, state = optimizer.update(params, optimizer.init(params), params)
    assert {leaf.dtype for leaf in jax.tree.leaves((state.mu, state.nu, updates))} == {np.dtype("float32")}


@pytest.mark.parametrize(
    "wrong", [{"b1": 1.0}, {"b2": -0.1}, {"eps": 0.0}, {"weight_decay": -1.0}, {"parameter_rms_floor": 0.0}]
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AdamWConfig(**wrong)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.training.losses import token_losses


def reference(logits, targets, weights, *, z_loss, label_smoothing):
    """T5X's formulas with a dense target distribution, in float64."""
    logits = logits.astype(np.float64)
    vocab_size = logits.shape[-1]
    shifted = logits - logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(shifted).sum(-1)) + logits.max(-1)
    log_probabilities = logits - log_z[..., None]
    confidence, low = 1 - label_smoothing, label_smoothing / (vocab_size - 1)
    soft = np.full(logits.shape, low)
    np.put_along_axis(soft, targets[..., None], confidence, -1)
    entropy = -(soft * np.log(np.where(soft == 0, 1, soft))).sum(-1)
    smoothed = -(soft * log_probabilities).sum(-1) - entropy
    nll = -np.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0]
    per_token = {
        "objective": smoothed + z_loss * log_z**2,
        "loss": nll,
        "z_loss": z_loss * log_z**2,
        "accuracy": logits.argmax(-1) == targets,  # no ties among these
    }
    return {name: (values * weights).sum() for name, values in per_token.items()}


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_equals_float64(label_smoothing, scale):
    random = np.random.default_rng(0)
    logits = (scale * random.normal(size=(3, 5, 11)) + 20).astype(np.float32)
    targets = random.integers(0, 11, (3, 5)).astype(np.int32)
    weights = random.random((3, 5)).astype(np.float32) * (random.random((3, 5)) < 0.7)
    found = token_losses(
        jnp.asarray(logits),
        jnp.asarray(targets),
        jnp.asarray(weights),
        z_loss=1e-2,
        label_smoothing=label_smoothing,
    )
    expected = reference(logits, targets, weights, z_loss=1e-2, label_smoothing=label_smoothing)
    for name, total in expected.items():
        pair = getattr(found, name)
        np.testing.assert_allclose(float(pair.total), total, rtol=2e-6, err_msg=name)
        np.testing.assert_allclose(float(pair.weight), weights.sum(), rtol=1e-6)


def test_gradient_equals_float64_softmax():
    random = np.random.default_rng(1)
    logits = random.normal(size=(2, 3, 7)).astype(np.float32)
    targets = random.integers(0, 7, (2, 3)).astype(np.int32)
    weights = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    gradient = jax.grad(
        lambda x: token_losses(x, jnp.asarray(targets), jnp.asarray(weights), z_loss=0.1).objective.total
    )(jnp.asarray(logits))
    exp = np.exp(logits.astype(np.float64))
    z = exp.sum(-1, keepdims=True)
    softmax, one_hot = exp / z, np.eye(7)[targets]
    expected = (softmax - one_hot + 0.1 * 2 * np.log(z) * softmax) * weights[..., None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.zeros((1, 4096, 3), jnp.bfloat16)
    targets = jnp.zeros((1, 4096), jnp.int32)
    losses = token_losses(logits, targets, jnp.ones((1, 4096)))
    assert losses.loss.total.dtype == jnp.float32
    np.testing.assert_allclose(float(losses.loss.total), 4096 * np.log(3), rtol=1e-6)

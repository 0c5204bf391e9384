"""A bias: added in the dtype of the activations, its gradient summed in float32 on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.cpu import gradients
from t5lite.models.layers.bias import add_bias


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_value_and_gradients(monkeypatch, platform, dtype):
    monkeypatch.setattr(gradients, "target_platform", lambda: platform)
    rng = np.random.default_rng(0)
    x_BLN, bar_BLN = (jnp.asarray(rng.standard_normal((4, 300, 24)), dtype) for _ in range(2))
    bias_N = jnp.asarray(rng.standard_normal(24), jnp.float32)
    y_BLN, pull = jax.vjp(add_bias, x_BLN, bias_N)
    assert y_BLN.dtype == dtype
    np.testing.assert_array_equal(y_BLN, x_BLN + bias_N.astype(dtype)[None, None])
    x_bar_BLN, bias_bar_N = pull(bar_BLN)
    assert ("dot_general" in str(jax.make_jaxpr(pull)(bar_BLN))) == (platform == "cpu")
    np.testing.assert_array_equal(x_bar_BLN, bar_BLN)
    assert bias_bar_N.dtype == jnp.float32
    exact_N = np.asarray(bar_BLN, np.float64).sum((0, 1))
    np.testing.assert_allclose(bias_bar_N, exact_N, rtol=1e-5, atol=1e-5 * np.abs(exact_N).max())

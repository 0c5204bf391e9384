"""Grouped heads, the parallel block and the gates, against their definitions in float64 NumPy."""

from math import erf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import VOCAB_SIZE, assert_trees_close, make_rows, make_tiny, tiny_from_config
from architectures import make_config as make_any_config

from t5lite.models.config import AttentionConfig, LayerNorm, RotaryPositions
from t5lite.models.layers.mlp import ACTIVATIONS

FAMILY = {"attention": AttentionConfig(scaled=True, biases="all")}


def repeat_heads(params, times, head_dim):
    """Return the parameters of full multi-head attention in which each group's heads are copies."""
    attention = dict(params["decoder"]["layers"]["self_attention"])
    for name in ("key", "value", "key_bias", "value_bias"):
        groups = attention[name].reshape(*attention[name].shape[:-1], -1, head_dim)
        attention[name] = jnp.repeat(groups, times, axis=-2).reshape(*groups.shape[:-2], -1)
    layers = {**params["decoder"]["layers"], "self_attention": attention}
    return {**params, "decoder": {**params["decoder"], "layers": layers}}


@pytest.mark.parametrize("kv_heads", [2, 1])
def test_grouped_heads_equal_repeated_heads(kv_heads):
    """In logits; and the gradient of a shared head is the sum of its copies' gradients."""
    grouped = make_tiny("decoder_only", num_kv_heads=kv_heads, **FAMILY)
    full = tiny_from_config(make_any_config("decoder_only", **FAMILY), params={})
    batch = make_rows(grouped.config, [[(1, 6)], [(2, 3), (3, 2)]], length=6)

    def value_and_gradients(tiny, params):
        def loss(params):
            return jnp.mean(jnp.sin(3 * tiny.forward(params, batch)))

        return jax.jit(jax.value_and_grad(loss))(params)

    loss, gradients = value_and_gradients(grouped, grouped.params)
    times, head_dim = 4 // kv_heads, grouped.config.head_dim
    repeated_loss, repeated_gradients = value_and_gradients(
        full, repeat_heads(grouped.params, times, head_dim)
    )
    np.testing.assert_allclose(loss, repeated_loss, rtol=0, atol=1e-6)
    attention = repeated_gradients["decoder"]["layers"]["self_attention"]
    for name in ("key", "value", "key_bias", "value_bias"):
        copies = attention[name]
        shape = (*copies.shape[:-1], kv_heads, times, head_dim)
        attention[name] = copies.reshape(shape).sum(axis=-2).reshape(*copies.shape[:-1], -1)
    assert_trees_close(gradients, repeated_gradients, rtol=1e-5)


def rotated(x_LHK, base):
    """Pair (i, i + K/2) as one complex number, turned by position * base^(-2i/K) radians."""
    length, _, size = x_LHK.shape
    as_complex = x_LHK[..., : size // 2] + 1j * x_LHK[..., size // 2 :]
    angles = np.arange(length)[:, None] * base ** (-np.arange(0, size, 2) / size)
    turned = as_complex * np.exp(1j * angles)[:, None]
    return np.concatenate([turned.real, turned.imag], axis=-1)


def layer_norm(x_LD, scale_D, epsilon):
    centred = x_LD - x_LD.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * scale_D


def palm_in_float64(params, config, tokens_L):
    """PaLM (Chowdhery et al. 2022): y = x + MLP(norm(x)) + attention(norm(x)), one key and value head."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    table_VD, stack = params["token_embedder"]["embedding"], params["decoder"]
    x_LD = table_VD[tokens_L]
    later = np.triu(np.ones((len(tokens_L), len(tokens_L)), bool), 1)
    for n in range(config.num_layers):
        layer = jax.tree.map(lambda x, n=n: x[n], stack["layers"])
        y_LD = layer_norm(x_LD, layer["self_attention_norm"]["scale"], config.norm.epsilon)
        attention, mlp = layer["self_attention"], layer["mlp"]
        q_LHK = (y_LD @ attention["query"]).reshape(len(y_LD), config.num_heads, config.head_dim)
        q_LHK = rotated(q_LHK, config.positions.base)
        k_LK = rotated((y_LD @ attention["key"])[:, None], config.positions.base)[:, 0]
        v_LK = y_LD @ attention["value"]
        scores_HLM = np.einsum("LHK,MK->HLM", q_LHK, k_LK) / np.sqrt(config.head_dim)
        weights_HLM = np.exp(np.where(later, -np.inf, scores_HLM))
        weights_HLM /= weights_HLM.sum(-1, keepdims=True)
        attended_LHK = np.einsum("HLM,MK->LHK", weights_HLM, v_LK)
        attended_LD = attended_LHK.reshape(len(y_LD), -1) @ attention["out"]
        gate_LF = y_LD @ mlp["wi_0"]
        swish_LF = gate_LF / (1 + np.exp(-gate_LF))
        x_LD = x_LD + attended_LD + (swish_LF * (y_LD @ mlp["wi_1"])) @ mlp["wo"]
    x_LD = layer_norm(x_LD, stack["final_norm"]["scale"], config.norm.epsilon)
    return x_LD @ table_VD.T * config.output_scale


def test_the_parallel_block_equals_palm_in_float64():
    tiny = make_tiny(
        "decoder_only",
        parallel_block=True,
        num_kv_heads=1,
        norm=LayerNorm(bias=False),
        logit_scale=None,
        head_dim=6,
        positions=RotaryPositions(base=100.0),
    )
    assert "mlp_norm" not in tiny.params["decoder"]["layers"]
    tokens_BL = np.random.default_rng(0).integers(0, VOCAB_SIZE, (2, 9)).astype(np.int32)
    logits_BLV = tiny.forward(tiny.params, {"decoder_input_tokens": tokens_BL})
    for row in range(2):
        expected_LV = palm_in_float64(tiny.params, tiny.config, tokens_BL[row])
        assert expected_LV.std() > 0.3
        np.testing.assert_allclose(logits_BLV[row], expected_LV, rtol=0, atol=2e-5)


def test_gelu_is_exact_or_by_tanh_as_named():
    x = np.linspace(-6, 6, 201)
    exact = 0.5 * x * (1 + np.array([erf(value / np.sqrt(2)) for value in x]))
    by_tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    single = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(ACTIVATIONS["gelu"](single), exact, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](single), by_tanh, rtol=0, atol=1e-6)
    assert 2e-4 < np.abs(exact - by_tanh).max() < 1e-3  # so the two tolerances tell them apart
    np.testing.assert_allclose(ACTIVATIONS["silu"](single), x / (1 + np.exp(-x)), rtol=0, atol=1e-6)

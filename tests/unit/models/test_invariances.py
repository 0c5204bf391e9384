"""What no architecture's logits may depend on: padding, neighbours in a packed row, later tokens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import (
    ARCHITECTURES,
    POSITIONS,
    assert_trees_close,
    make_config,
    make_forward,
    make_rows,
    make_tiny,
    tiny_from_config,
)
from tiny_models import make_params

from t5lite.core.errors import ConfigError
from t5lite.models.config import Execution, LayerNorm, LearnedPositions, RotaryPositions
from t5lite.models.functional import build

pytestmark = pytest.mark.slow

A, B = (1, 3), (2, 5)
"""Two examples (seed, length) of different lengths, so that packed offsets differ."""


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_packed_row_equals_its_parts_alone(architecture, positions):
    """Whatever the order, and however the padding around them is filled; cross-attention included."""
    tiny = make_tiny(architecture, **POSITIONS[positions])
    noise, gap = (0, 2), (0, 1)
    rows = [[A], [B], [A, B], [B, A], [A, noise], [gap, B], [A, gap, B]]
    batch = make_rows(tiny.config, rows, length=10)
    logits = np.asarray(tiny.forward(tiny.params, batch))
    assert np.isfinite(logits).all()
    assert logits.std() > 0.3
    first, second = logits[0, :3], logits[1, :5]
    for row, start, expected in [
        (2, 0, first),
        (2, 3, second),
        (3, 0, second),
        (3, 5, first),
        (4, 0, first),
        (5, 1, second),
        (6, 0, first),
        (6, 4, second),
    ]:
        if architecture == "encoder_decoder" and row == 6:
            continue  # segment numbers there are 1 and 3 in both stacks; the encoder's gap is longer
        np.testing.assert_allclose(
            logits[row, start : start + len(expected)], expected, rtol=0, atol=2e-5, err_msg=str(rows[row])
        )


@pytest.mark.parametrize(
    ("architecture", "positions"), [("decoder_only", "learned"), ("encoder_only", "rotary")]
)
def test_the_amount_of_padding_changes_neither_loss_nor_gradients(architecture, positions):
    tiny = make_tiny(architecture, **POSITIONS[positions])
    forward = make_forward(tiny.model)

    def loss(params, batch):
        return jnp.mean(jnp.sin(3 * forward(params, batch)[:, :5]))

    gradients_of = jax.jit(jax.value_and_grad(loss))
    padded = make_rows(tiny.config, [[B], [(3, 5)]], length=9)
    name = f"{tiny.config.sides[0]}_input_tokens"
    expected, expected_gradients = gradients_of(tiny.params, {name: padded[name][:, :5]})
    got, gradients = gradients_of(tiny.params, padded)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    assert_trees_close(gradients, expected_gradients, rtol=1e-4)


CAUSAL = {
    **POSITIONS,
    "palm": {"parallel_block": True, "num_kv_heads": 1, "norm": LayerNorm(bias=False)},
}


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_decoder_is_causal_by_its_gradients(kind):
    """Output i depends on every embedded token up to i and on none after it."""
    config = make_config("decoder_only", **CAUSAL[kind])
    model = build(config)
    params = make_params(model)
    rng = np.random.default_rng(0)
    x_LD = jnp.asarray(rng.standard_normal((6, 16)), jnp.float32)
    direction_D = jnp.asarray(rng.standard_normal(16), jnp.float32)

    def outputs_L(x_LD):
        return model.bind(params).decoder(x_LD[None])[0] @ direction_D

    by_x = jax.jit(jax.jacrev(outputs_L))(x_LD)
    np.testing.assert_array_equal(np.abs(by_x).max(-1) > 0, np.tril(np.ones((6, 6), bool)))


@pytest.mark.parametrize("kind", CAUSAL)
def test_inputs_see_each_other_where_prefix_attention_is_bidirectional(kind):
    """Two packed examples of 2 inputs and a target each: inputs see both, targets see no later one."""
    config = make_config("decoder_only", **CAUSAL[kind])
    model = build(config)
    params = make_params(model)
    x_LD = jnp.asarray(np.random.default_rng(0).standard_normal((7, 16)), jnp.float32)
    segments_L, bidirectional_L = jnp.asarray([1, 1, 1, 2, 2, 2, 0]), jnp.asarray([1, 1, 0, 1, 1, 0, 0])

    def outputs_L(x_LD):
        options = {"segment_ids_BL": segments_L[None], "bidirectional_BL": bidirectional_L[None]}
        return model.bind(params).decoder(x_LD[None], **options)[0] @ jnp.arange(16.0)

    depends = np.abs(jax.jit(jax.jacrev(outputs_L))(x_LD)).max(-1) > 0
    example = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1]], bool)
    expected = np.zeros((7, 7), bool)
    expected[:3, :3] = expected[3:6, 3:6] = example
    expected[6, 6] = True  # padding sees itself alone, through the residual stream
    np.testing.assert_array_equal(depends, expected)


def test_only_a_bidirectional_model_reads_the_field():
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(2, 40, (2, 6)), jnp.int32)
    given = jnp.asarray([[1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    batch = {"decoder_input_tokens": tokens, "decoder_bidirectional": given}
    causal = make_tiny("decoder_only")
    config = dataclasses.replace(causal.config, prefix_attention="bidirectional")
    prefix = tiny_from_config(config, causal.params)
    without = {"decoder_input_tokens": tokens}
    expected = causal.forward(causal.params, without)
    np.testing.assert_array_equal(causal.forward(causal.params, batch), expected)
    np.testing.assert_array_equal(prefix.forward(prefix.params, without), expected)
    got = prefix.forward(prefix.params, batch)
    assert np.abs(got - expected)[0].max() > 0.01
    np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=2e-5)  # a single input has none to see
    with pytest.raises(ConfigError, match="unknown prefix_attention='both'"):
        dataclasses.replace(causal.config, prefix_attention="both")


def test_an_encoder_sees_its_whole_segment_by_its_gradients():
    model = build(make_config("encoder_only", positions=RotaryPositions()))
    params = make_params(model)
    x_LD = jnp.asarray(np.random.default_rng(0).standard_normal((6, 16)), jnp.float32)
    ids_L = jnp.asarray([1, 1, 1, 2, 2, 0])

    def outputs_L(x_LD):
        return model.bind(params).encoder(x_LD[None], segment_ids_BL=ids_L[None])[0] @ jnp.arange(16.0)

    depends = np.abs(jax.jit(jax.jacrev(outputs_L))(x_LD)).max(-1) > 0
    expected = np.asarray(ids_L)[:, None] == np.asarray(ids_L)[None, :]
    expected[5] = False
    expected[5, 5] = True  # padding sees itself alone, through the residual stream
    np.testing.assert_array_equal(depends, expected)


@pytest.mark.parametrize(
    ("architecture", "positions", "changes"),
    [
        ("decoder_only", "rotary", {"scan_unroll": -1}),
        ("encoder_only", "relative_per_layer", {"scan_unroll": 2, "remat": "full"}),
        ("decoder_only", "windows", {"remat": "full"}),
    ],
)
def test_unrolling_and_rematerialisation_change_nothing(architecture, positions, changes):
    config = make_config(
        architecture,
        **POSITIONS[positions],
        dropout_rate=0.1,
        num_layers=3,
    )
    batch = make_rows(config, [[A, B], [B]], length=10)
    key = jax.random.key(3)

    def loss_and_gradients(execution):
        model = build(config, execution)
        forward = make_forward(model)

        def loss(params):
            return jnp.mean(jnp.sin(3 * forward(params, batch, key)))

        return jax.jit(jax.value_and_grad(loss))(make_params(model))

    expected, expected_gradients = loss_and_gradients(Execution())
    got, gradients = loss_and_gradients(Execution(**changes))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert_trees_close(gradients, expected_gradients, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "positions"),
    [("decoder_only", "rotary"), ("decoder_only", "learned"), ("encoder_only", "sinusoidal")],
)
def test_bfloat16_compute_stays_near_float32(architecture, positions):
    """Bound: 5 % of the logits' standard deviation, root mean square, as for the encoder-decoder."""
    exact = make_tiny(architecture, **POSITIONS[positions])
    rounded = tiny_from_config(exact.config, exact.params, Execution(compute_dtype="bfloat16"))
    batch = make_rows(exact.config, [[(seed, 10)] for seed in range(1, 7)], length=10)
    expected, logits = exact.forward(exact.params, batch), rounded.forward(exact.params, batch)
    assert logits.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((logits - expected) ** 2)) / jnp.std(expected))
    assert 1e-4 < error < 0.05


@pytest.mark.parametrize("architecture", ["decoder_only", "encoder_only"])
def test_dropout_follows_its_key_alone(architecture):
    tiny = make_tiny(architecture, dropout_rate=0.3, positions=RotaryPositions())
    plain = tiny_from_config(dataclasses.replace(tiny.config, dropout_rate=0.0), params=tiny.params)
    batch = make_rows(tiny.config, [[A], [B]], length=6)
    first = tiny.forward(tiny.params, batch, jax.random.key(1))
    np.testing.assert_array_equal(first, tiny.forward(tiny.params, batch, jax.random.key(1)))
    assert (first != tiny.forward(tiny.params, batch, jax.random.key(2))).mean() > 0.9
    np.testing.assert_array_equal(tiny.forward(tiny.params, batch), plain.forward(plain.params, batch))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_sequence_longer_than_the_learned_table_is_refused(architecture):
    model = build(make_config(architecture, positions=LearnedPositions(), max_length=6))
    params = make_params(model)
    names = [f"{stack}_input_tokens" for stack in model.config.sides]

    def shape(length):
        batch = {name: jax.ShapeDtypeStruct((1, length), "int32") for name in names}
        return jax.eval_shape(make_forward(model), params, batch).shape

    assert shape(6) == (1, 6, 40)
    with pytest.raises(ConfigError, match=r"a sequence of 7 tokens is longer than the 6 rows"):
        shape(7)

"""Layers of one structure are one array, whatever their windows and wherever the loop takes them from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import POSITIONS, make_config, make_forward, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_params

from t5lite.models.config import AttentionConfig, Execution, LayerNorm
from t5lite.models.functional import build
from t5lite.models.layers.groups import LayerGroups
from t5lite.models.layers.running import LayerRun


def stack_of(windows, num_layers, first_norm):
    config = make_config(
        "encoder_only",
        num_layers=num_layers,
        first_norm=first_norm,
        attention=AttentionConfig(scaled=True, windows=windows),
    )
    return config.stacks[0]


@settings(deadline=None, max_examples=60)
@given(
    windows=st.lists(st.sampled_from([None, 2, 3]), min_size=1, max_size=4).map(tuple),
    num_layers=st.integers(1, 9),
    first_norm=st.booleans(),
    by_view=st.booleans(),
)
def test_layers_come_out_of_the_loop_in_their_order(windows, num_layers, first_norm, by_view):
    stack = stack_of(windows, num_layers, first_norm)
    groups = LayerGroups.of(stack, lambda layer: layer.attention.view if by_view else layer.structure)
    assert sorted(number for own in groups.layers.values() for number in own) == list(range(num_layers))
    stacked = {group: jnp.asarray(own) for group, own in groups.layers.items()}
    turns = groups.in_loop(stacked)
    first, last = (groups.outside(stacked, places) for places in (groups.first, groups.last))
    cycles = [
        [
            int(groups.of_cycle({name: x[turn] for name, x in turns.items()}, place))
            for place in range(len(groups.cycle))
        ]
        for turn in range(groups.num_cycles if groups.cycle else 0)
    ]
    order = [*map(int, first), *(number for turn in cycles for number in turn), *map(int, last)]
    assert order == list(range(num_layers))
    by_place = [jnp.asarray(numbers) for numbers in zip(*cycles, strict=True)]
    run = LayerRun(None, first, tuple(by_place), last)
    assert [int(number) for number in run.by_layer()] == order


def shapes(config):
    leaves = jax.tree_util.tree_leaves_with_path(build(config).abstract_params)
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


def test_windows_change_no_array():
    config = make_config("decoder_only", num_layers=6, **POSITIONS["windows"])
    for windows in ((None,), (4, 4, 4, None), (3,) * 5):
        attention = dataclasses.replace(config.attention, windows=windows)
        assert shapes(dataclasses.replace(config, attention=attention)) == shapes(config)


@pytest.mark.slow
def test_layers_beside_the_loop_and_unrolled_ones_compute_the_same():
    """A first layer without its norm, two whole cycles and a part of one; loss and gradients."""
    config = make_config(
        "encoder_only",
        num_layers=6,
        norm=LayerNorm(bias=False),
        first_norm=False,
        attention=AttentionConfig(scaled=True, windows=(None, 2)),
        dropout_rate=0.1,
    )
    batch, key = make_rows(config, [[(1, 4), (2, 5)], [(3, 7)]], length=9), jax.random.key(3)

    def loss_and_gradients(execution):
        model = build(config, execution)
        forward = make_forward(model)
        loss = jax.value_and_grad(lambda params: jnp.mean(jnp.sin(3 * forward(params, batch, key))))
        return jax.jit(loss)(make_params(model))

    expected, expected_gradients = loss_and_gradients(Execution(scan_unroll=-1))
    for execution in (Execution(remat="full"), Execution(scan_unroll=2, remat="dots")):
        got, gradients = loss_and_gradients(execution)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-5), gradients, expected_gradients
        )


def test_inputs_see_later_ones_within_a_window():
    """Window 2 over 3 inputs and 2 targets: an input sees its two neighbours, a target what precedes it."""
    config = make_config(
        "decoder_only",
        num_layers=1,
        prefix_attention="bidirectional",
        attention=AttentionConfig(scaled=True, windows=(2,)),
    )
    model = build(config)
    params = make_params(model)
    x_LD = jnp.asarray(np.random.default_rng(0).standard_normal((5, 16)), jnp.float32)

    def outputs_L(x_LD):
        inputs_BL = jnp.asarray([[1, 1, 1, 0, 0]])
        return model.bind(params).decoder(x_LD[None], bidirectional_BL=inputs_BL)[0] @ jnp.arange(16.0)

    depends = np.abs(jax.jit(jax.jacrev(outputs_L))(x_LD)).max(-1) > 0
    expected = np.array(
        [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]], bool
    )
    np.testing.assert_array_equal(depends, expected)

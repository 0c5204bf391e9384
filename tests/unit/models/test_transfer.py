"""Rates of a small model for a large one: what grows, and that nothing does at the size that is named."""

import dataclasses
import math
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.models.config import (
    Execution,
    NormalInitializer,
    T5Initializer,
    Transfer,
    XavierInitializer,
)
from t5lite.models.config.initializers import Kind
from t5lite.models.config.transfer import Growing
from t5lite.models.functional import build
from t5lite.models.layers.making import Making
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant, MuonConfig
from t5lite.optim.trained import parameter_paths, resolve_trained
from tests.families import FAMILIES

SMALL = ("t5-1.1", "llama3", "bert", "gpt2")


def wider(name, times=4, **transfer):
    """The family's tiny model, so many times as wide, by the rates of itself."""
    config = FAMILIES[name]
    widths = {field: times * getattr(config, field) for field in ("embed_dim", "mlp_dim", "num_heads")}
    if config.num_kv_heads not in (None, 1):
        widths["num_kv_heads"] = times * config.num_kv_heads
    return dataclasses.replace(config, **widths, transfer=Transfer(embed_dim=config.embed_dim, **transfer))


def by_path(params):
    return dict(zip(parameter_paths(params), jax.tree.leaves(params), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_at_the_size_that_is_named_nothing_changes(name):
    config = FAMILIES[name]
    depth = 2 if config.norm_placement == "pre" else None
    transfer = Transfer(embed_dim=config.embed_dim, num_layers=depth)
    model = build(dataclasses.replace(config, transfer=transfer))
    plain = build(config)
    assert set(model.growths.values()) == {Growth()}
    ours, plains = (jax.jit(each.init)(jax.random.key(0)) for each in (model, plain))
    jax.tree.map(np.testing.assert_array_equal, ours, plains)
    assert model.config.output_scale == plain.config.output_scale


@pytest.mark.parametrize(
    "name", [name for name in FAMILIES if FAMILIES[name].table_dim is None and "t5gemma" not in name]
)
def test_every_parameter_of_every_family_grows_as_its_role_does(name):
    model = build(wider(name))
    axes = by_path_of_axes(model.logical_axes)
    for path, names in axes.items():
        wide = [axis for axis in names if axis in ("embed", "mlp", "heads", "kv_heads", "kv", "features")]
        update = model.growths.get(path, Growth()).update
        if names[-1] in ("vocab", "labels") and "embed" in names:
            assert update == 1 / 4, path
        elif len(wide) == 2:
            assert model.growths[path] == Growth(initial=0.5, update=0.25), path
        else:
            is_scaled_table = names[0] == "vocab" and model.config.embedding_scale == "sqrt_dim"
            assert update == (1 / 2 if is_scaled_table else 1), path


def by_path_of_axes(axes):
    leaves = jax.tree.leaves(axes, is_leaf=lambda x: isinstance(x, tuple))
    return dict(zip(parameter_paths(axes), leaves, strict=True))


@pytest.mark.parametrize(
    "scheme", [T5Initializer(), NormalInitializer(scaled_outputs=True), XavierInitializer()]
)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_initial_values_grow_as_they_are_said_to_whatever_the_scheme_does_by_itself(scheme, kind):
    """Held against what is drawn: at the width and depth of before, and at eight and three times these."""
    axes = {
        "embedding": ("vocab", "embed"), "query": ("embed", "heads"), "key_value": ("embed", "heads"),
        "attention_out": ("heads", "embed"), "mlp_in": ("embed", "mlp"), "mlp_out": ("mlp", "embed"),
        "dense": ("embed", "features"), "logits": ("embed", "vocab"),
    }[kind]  # fmt: skip
    growing = Growing(width=8, depth=3, num_layers=4, table=1.0)

    def draw(width, num_layers, growing=None):
        making = Making(scheme, num_layers, 0.0, Execution(), nnx.Rngs(params=7), growing)
        shape = tuple(200 if axis == "vocab" else 40 * width for axis in axes)
        with nnx.use_eager_sharding(False):
            return making.kernel(kind, shape, axes)

    before, after = draw(1, 4), draw(8, 12, growing)
    found = float(after[...].std() / before[...].std())
    assert math.isclose(found, after.get_metadata()["growth"].initial, rel_tol=0.03)


def test_a_tied_table_is_kept_and_its_logits_shrink():
    tied = dataclasses.replace(FAMILIES["t5-1.0"], tie_embeddings=True)
    large = dataclasses.replace(wider("t5-1.0"), tie_embeddings=True)
    assert large.output_scale == tied.output_scale / 4
    assert build(large).growths["token_embedder/embedding"] == Growth()
    scaled = dataclasses.replace(wider("gpt2"), embedding_scale="sqrt_dim", tie_embeddings=True)
    assert build(scaled).growths["token_embedder/embedding"] == Growth(0.5, 0.5)
    # Rows are half as large and four times as many are summed up: logits as before but for 1/4.
    assert scaled.output_scale == 1 / 4 * 2


def test_depth_divides_what_is_added_to_the_stream_and_nothing_else():
    growths = build(dataclasses.replace(wider("gpt2", 1, num_layers=1), num_layers=8)).growths
    changed = {path.split("/")[-1] for path, growth in growths.items() if growth != Growth()}
    assert changed == {"out", "out_bias", "wo", "wo_bias"}
    # A bias starts at 0 whatever it is divided by: no optimizer may take its update for a relative one.
    assert {growth for growth in growths.values() if growth != Growth()} == {
        Growth(1 / 8, 1 / 8),
        Growth(1, 1 / 8),
    }


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [
        (AdamWConfig(), 1 / 4),
        (AdamWConfig(multiply_by_parameter_rms=True), 1 / 2),  # the parameter is half as large
        (AdafactorConfig(), 1 / 2),
        (AdafactorConfig(multiply_by_parameter_scale=False), 1 / 4),
        (MuonConfig(), 1 / 2),  # an orthogonal matrix of that RMS has twice the norm
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else f"{value:g}",
)
def test_every_optimizer_says_what_its_updates_need(optimizer, factor):
    model = build(wider("t5-1.1"))
    trained = resolve_trained(None, (), model.abstract_params)
    factors = trained.grown(optimizer, model.growths, model.logical_axes).size_factors
    assert factors["encoder/layers/mlp/wo"] == factor
    assert factors["token_embedder/embedding"] == factors["encoder/relpos_bias/embedding"] == 1
    is_relative = optimizer.rate_factor(Growth(initial=0.5), ("vocab", "embed")) == 2
    assert factors["logits/kernel"] == (1 if is_relative else 1 / 4)


@pytest.mark.parametrize("optimizer", [AdamWConfig(weight_decay=0.1), MuonConfig(weight_decay=0.1)])
def test_weight_decay_is_the_same_at_every_size(optimizer):
    model = build(wider("llama3"))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), model.abstract_params)
    trained = resolve_trained(None, (("decoder", 0.5),), params)
    trained = trained.grown(optimizer, model.growths, model.logical_axes)
    rate = Constant(value=0.5).build(1)
    built = trained.optimizer(partial(optimizer.build, rate), model.logical_axes)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(built.update)(nothing, built.init(params), params)
    # The user's own factor of the rate is one of the decay, too.
    np.testing.assert_allclose(by_path(updates)["decoder/layers/mlp/wo"], -0.5 * 0.5 * 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transfer": Transfer(embed_dim=0)}, r"^transfer\.embed_dim=0 must be at least 1"),
        ({"transfer": Transfer(embed_dim=8), "table_dim": 8}, r"one width.* leave out transfer"),
        (
            {"transfer": Transfer(embed_dim=8, num_layers=2), "norm_placement": "post"},
            r"transfer\.num_layers=2 is for norm_placement='pre'.*leave num_layers out",
        ),
    ],
)
def test_what_does_not_grow_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(FAMILIES["gpt2"], **changes)


def test_one_head_of_keys_does_not_widen_with_the_model():
    """An orthogonal update of its RMS is a map as much larger as its inputs are more."""
    model = build(wider("palm"))
    factors = resolve_trained(None, (), model.abstract_params)
    factors = factors.grown(MuonConfig(), model.growths, model.logical_axes).size_factors
    assert factors["decoder/layers/self_attention/key"] == 1 / 4
    assert factors["decoder/layers/self_attention/query"] == 1 / 2


@pytest.mark.slow
def test_a_relative_bias_starts_as_large_whatever_the_number_of_heads():
    found = [
        jax.jit(build(config).init)(jax.random.key(2))["encoder"]["relpos_bias"]["embedding"].std()
        for config in (FAMILIES["t5-1.1"], wider("t5-1.1", 16))
    ]
    assert math.isclose(*found, rel_tol=0.15)

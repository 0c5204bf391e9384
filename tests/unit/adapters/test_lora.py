"""LoRA in models of the three architectures: what it computes, what it adapts, and what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.adapters import AdaptedModel, LoRA, NoAdapter
from t5lite.adapters.base import united
from t5lite.core.errors import ConfigError
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, Execution
from t5lite.models.functional import build
from t5lite.models.layers.low_rank import LowRankKernel
from t5lite.models.layers.projection import project
from t5lite.optim import AdamWConfig, Constant, MuonConfig
from t5lite.optim.trained import parameter_paths, resolve_trained
from t5lite.training.step import check_param_dtype

SIZES: dict[str, Any] = {"vocab_size": 40, "embed_dim": 16, "mlp_dim": 24, "head_dim": 4, "num_heads": 4}
CONFIGS: dict[str, Any] = {
    "encoder_decoder": EncoderDecoderConfig(
        **SIZES, num_encoder_layers=2, num_decoder_layers=2, dropout_rate=0.1
    ),
    "decoder_only": DecoderOnlyConfig(**SIZES, num_layers=2, table_dim=12),
    "encoder_only": EncoderOnlyConfig(**SIZES, num_layers=2, head="sequence_classification", num_labels=3),
}
NAMES = {"query", "key", "value", "out", "wo"}
OTHERS = {
    "encoder_decoder": {"wi_0", "wi_1"},
    "decoder_only": {"wi_0", "wi_1", "projection_in", "projection_out"},
    "encoder_only": {"wi", "kernel"},
}
"""Of the kernels that can be adapted: neither tables nor what makes logits of tokens."""
EVERYTHING = ("*",)
T5 = build(CONFIGS["encoder_decoder"])


def random_params(abstract, seed=0, std=0.3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(std * rng.standard_normal(leaf.shape), leaf.dtype), abstract)


def batch_of(config):
    tokens = jnp.asarray(np.random.default_rng(1).integers(2, 40, (2, 6)), jnp.int32)
    return {f"{side}_input_tokens": tokens for side in config.sides}


def outputs(bound, config, dropout_key=None):
    out = bound(batch_of(config), dropout_key=dropout_key)
    return out if isinstance(out, dict) else {"tokens": out}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_it_begins_as_the_model_and_merged_weights_compute_what_it_does(architecture):
    """Every kernel is adapted, those of heads and of a narrow table's projections too."""
    config, base = CONFIGS[architecture], build(CONFIGS[architecture])
    model = AdaptedModel.of(base, LoRA(rank=2, targets=EVERYTHING, rank_stabilized=True))
    params = random_params(base.abstract_params)
    own = model.adapter.init(base, jax.random.key(0))

    @jax.jit
    def compute(params: Any, own: Any, trained: Any) -> Any:
        whole = united(params, trained)
        return (
            outputs(base.bind(params), config),
            outputs(model.bind(united(params, own)), config),
            outputs(model.bind(whole), config),
            outputs(base.bind(model.merged(whole)), config),
        )

    trained = random_params(own, seed=2)
    alone, at_first, unmerged, merged = compute(params, own, trained)
    for name in alone:
        np.testing.assert_array_equal(at_first[name], alone[name])
        size = np.abs(merged[name]).max()
        np.testing.assert_allclose(unmerged[name], merged[name], rtol=0, atol=2e-5 * size)
        assert np.abs(merged[name] - alone[name]).max() > 0.1 * size
    adapted = {path.removesuffix("_lora/a") for path in parameter_paths(own) if path.endswith("/a")}
    assert {path.rpartition("/")[2] for path in adapted} == NAMES | OTHERS[architecture]


def test_initial_values_are_kaiming_uniform_and_do_not_depend_on_other_targets():
    few, many = (LoRA(rank=4, targets=targets) for targets in (("*/wo",), EVERYTHING))
    key = jax.random.key(3)
    wo = few.init(T5, key)["encoder"]["layers"]["mlp"]["wo_lora"]
    assert wo["a"].shape == (2, 24, 4)
    assert not wo["b"].any()
    bound = 24**-0.5
    assert 0.9 * bound < np.abs(wo["a"]).max() <= bound
    np.testing.assert_allclose(wo["a"].std(), bound / 3**0.5, rtol=0.1)
    np.testing.assert_array_equal(wo["a"], many.init(T5, key)["encoder"]["layers"]["mlp"]["wo_lora"]["a"])
    assert np.abs(wo["a"][0] - wo["a"][1]).max() > 0.1 * bound


def test_gradients_are_those_of_a_float64_reference():
    rng = np.random.default_rng(0)
    x, w, a, b, y_bar = (rng.standard_normal(s) for s in ((2, 5, 6), (6, 7), (6, 3), (3, 7), (2, 5, 7)))
    scale = 1.7

    def adapted(x, w, a, b):
        return project("BLD,DF->BLF", x, LowRankKernel(w, a, b, None, scale=scale, dropout_rate=0.0))

    y, vjp = jax.vjp(adapted, *(jnp.asarray(each, jnp.float32) for each in (x, w, a, b)))
    rows, bars = x.reshape(-1, 6), y_bar.reshape(-1, 7)
    expected = (
        y_bar @ (w + scale * a @ b).T,
        rows.T @ bars,
        scale * rows.T @ bars @ b.T,
        scale * a.T @ rows.T @ bars,
    )
    np.testing.assert_allclose(y, x @ (w + scale * a @ b), rtol=1e-4, atol=1e-5)
    for got, want in zip(vjp(jnp.asarray(y_bar, jnp.float32)), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_dropout_falls_on_what_a_reads_while_training_alone():
    """With the model's own dropout off, and as much in the mean as without."""
    rng = np.random.default_rng(0)
    x, w, a, b = (
        jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((1, 3, 8), (8, 4), (8, 2), (2, 4))
    )

    def product(key):
        data = None if key is None else jax.random.key_data(key)
        return project("BLD,DF->BLF", x, LowRankKernel(w, a, b, data, scale=1.0, dropout_rate=0.5))

    dropped = np.asarray(jax.vmap(product)(jax.random.split(jax.random.key(0), 4000)))
    whole = np.asarray(product(None))
    assert np.abs(dropped - whole).max() > 1
    np.testing.assert_allclose(dropped.mean(0), whole, rtol=0, atol=0.25)
    base = build(CONFIGS["decoder_only"])
    params = random_params(base.abstract_params)
    models = [AdaptedModel.of(base, LoRA(rank=2, dropout=rate)) for rate in (0.0, 0.5)]
    own = random_params(models[0].adapter.init(base, jax.random.key(0)), seed=2)
    bound = [model.bind(united(params, own), dropout_key=jax.random.key(1)) for model in models]
    without, with_dropout = (outputs(each, base.config)["tokens"] for each in bound)
    assert np.abs(without - with_dropout).max() > 1e-3
    evaluated = models[1].bind(united(params, own))
    np.testing.assert_array_equal(outputs(evaluated, base.config)["tokens"], without)


def test_it_is_trained_alone_unless_more_is_named():
    adapter = LoRA(rank=2)
    model = adapter.adapt(T5)

    def trained(trainable):
        found = resolve_trained(adapter.trained(trainable), (), model.abstract_params)
        adapter.check_trained(model, found)
        return {path.removesuffix("/a").removesuffix("/b") for path in found.rate_factors}

    own = {
        f"{side}/layers/{attention}_attention/{name}_lora"
        for side, attention in (("encoder", "self"), ("decoder", "self"), ("decoder", "cross"))
        for name in ("query", "value")
    }
    assert trained(None) == own
    assert trained(("*/final_norm",)) == own | {"encoder/final_norm/scale", "decoder/final_norm/scale"}
    with pytest.raises(ConfigError, match=r"query.*: trained whole by trainable and adapted by adapter"):
        trained(("encoder",))
    with pytest.raises(ConfigError, match=r"leaves encoder/.*_lora/a of the adapter out; say which kernels"):
        trained(("!encoder",))
    assert NoAdapter().adapt(T5) is T5
    assert NoAdapter().trained(None) is None


def test_a_base_in_bfloat16_is_trained_beside_and_nothing_of_it_is_trained():
    narrow = build(T5.config, Execution(param_dtype="bfloat16"))
    model = LoRA(rank=2).adapt(narrow)

    def checked(*trainable):
        trained = resolve_trained(LoRA().trained(trainable), (), model.abstract_params)
        rate = Constant().build(1)
        optimizer = trained.optimizer(
            lambda axes, rates: AdamWConfig().build(rate, axes, rates), model.logical_axes
        )
        check_param_dtype(model, optimizer)

    checked()
    dtypes = [str(leaf.dtype) for leaf in jax.tree.leaves(model.abstract_params)]
    assert dtypes.count("float32") == 12
    with pytest.raises(ConfigError, match="param_dtype='bfloat16' cannot be trained"):
        checked("*/final_norm")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"rank": 17},
            r"adapter.rank=17 is more than .*query has of 16 inputs and 16 outputs.*use 16 or fewer",
        ),
        (
            {"targets": ("*/querie",)},
            r"targets: '\*/querie' matches none of the 18 kernels that can be adapted",
        ),
        (
            {"targets": ("token_embedder",)},
            r"'token_embedder' matches none of the 18 kernels .*groups: decoder",
        ),
        ({"targets": ("decoder/final_norm",)}, r"'decoder/final_norm' matches none of the 18 kernels"),
        ({"targets": ("decoder", "!*")}, r"leaves nothing to adapt of 18 kernels; take a pattern"),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_name(fields, message):
    with pytest.raises(ConfigError, match=message):
        LoRA(**fields).adapt(T5)


@pytest.mark.parametrize(
    "fields", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"targets": ()}, {"targets": "encoder"}]
)
def test_values_that_mean_nothing_are_refused(fields):
    with pytest.raises(ConfigError, match=f"adapter.{next(iter(fields))}"):
        LoRA(**fields)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_optimizers_take_its_factors_as_the_matrices_that_they_are(architecture):
    """Weight decay shrinks A and B; Muon turns them, each by itself, as it turns kernels of layers."""
    model = AdaptedModel.of(build(CONFIGS[architecture]), LoRA(rank=2, targets=EVERYTHING))
    trained = resolve_trained(LoRA().trained(None), (), model.abstract_params)
    axes = trained.part(model.logical_axes)
    own = random_params(trained.part(model.abstract_params))
    rate = Constant(value=0.5).build(1)
    decaying = AdamWConfig(weight_decay=0.1).build(rate, axes)
    grads = jax.tree.map(jnp.zeros_like, own)
    updates, _ = decaying.update(grads, decaying.init(own), own)
    jax.tree.map(lambda got, leaf: np.testing.assert_allclose(got, -0.05 * leaf, rtol=1e-6), updates, own)
    turned = {*jax.eval_shape(MuonConfig().build(rate, axes).init, own).muon.mu}
    heads_outputs = {"classifier/dense/kernel_lora/b"} if architecture == "encoder_only" else set()
    assert turned == {*parameter_paths(own)} - heads_outputs

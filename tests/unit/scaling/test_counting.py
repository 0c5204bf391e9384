"""Counts by every convention, beside published figures, the arrays of the models, and XLA's own count."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place
from t5lite.data.examples.text_pair_examples import TextPairsDataConfig
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Execution,
    ModelConfig,
    PlainMLP,
)
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import build
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.parameter_count import count_embeddings
from t5lite.models.presets import preset
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution
from t5lite.runner.compilation import batch_shape
from t5lite.scaling.counting import CONVENTIONS, Shape, count_run, shape_of
from tests.families import FAMILIES

TABLES = {"vocab", "positions", "token_types"}
A4 = [(10, 640, 64, 1.03), (20, 1024, 64, 1.10), (24, 1280, 128, 1.08), (26, 1792, 128, 1.04),
      (28, 2048, 128, 1.03), (40, 3584, 128, 0.99)]  # fmt: skip
"""Hoffmann et al., 2022, table A4: layers, width, width of a head, FLOPs over 6 N D."""
D1 = {"gpt3-175b": (300e9, 3.14e23), "gpt3-small": (300e9, 2.25e20), "t5-small": (1e12, 1.80e20),
      "t5-base": (1e12, 6.60e20), "t5-11b": (1e12, 3.30e22), "bert-base": (250e9, 1.64e20)}  # fmt: skip
"""Brown et al., 2020, table D.1: tokens and training FLOPs, of parameters that it rounds to about 2 %."""


@pytest.mark.parametrize(("layers", "width", "head", "ratio"), A4)
def test_chinchillas_table_a4(layers, width, head, ratio):
    model = replace(
        preset("chinchilla-70b"),
        num_layers=layers,
        embed_dim=width,
        mlp_dim=4 * width,
        head_dim=head,
        num_heads=width // head,
    )
    shape = Shape(model=model, decoder_length=2048)
    counted = CONVENTIONS["chinchilla-a4"]
    # Their N has a kernel for Transformer-XL's positions in every layer.
    params = counted.params(shape) + layers * width**2
    assert counted.flops_per_token(shape) / (6 * params) == pytest.approx(ratio, abs=0.006)


@pytest.mark.parametrize("name", D1)
def test_gpt3s_table_of_compute(name):
    model = preset(name)
    shape = Shape(model=model, encoder_length=512, decoder_length=114 if model.cross_attends else 2048)
    tokens, flops = D1[name]
    assert tokens * CONVENTIONS["6nd"].flops_per_token(shape) == pytest.approx(flops, rel=0.03)


@pytest.mark.parametrize("name", FAMILIES)
def test_embeddings_are_the_arrays_with_an_axis_of_rows(name):
    model = build(FAMILIES[name])
    axes = jax.tree.leaves(model.logical_axes, is_leaf=lambda each: isinstance(each, tuple))
    arrays = jax.tree.leaves(model.abstract_params)
    tables = [array for array, names in zip(arrays, axes, strict=True) if TABLES & set(names)]
    assert count_embeddings(model.config) == sum(math.prod(array.shape) for array in tables)


SIZES = {"vocab_size": 512, "embed_dim": 192, "mlp_dim": 512, "head_dim": 48, "num_heads": 4}
WIDE = SIZES | {"embed_dim": 384, "mlp_dim": 1024, "head_dim": 96}
"""Of an exact GELU, XLA counts some thirty operations an erf: 3 % of BERT's at 192."""
WINDOWED = AttentionConfig(scaled=True, windows=(None, 16))
MODELS: dict[str, ModelConfig] = {
    "encoder-decoder": EncoderDecoderConfig(
        **SIZES, num_encoder_layers=1, num_decoder_layers=1, mlp=PlainMLP(), tie_embeddings=True
    ),
    "decoder-only": DecoderOnlyConfig(**SIZES, num_layers=2, num_kv_heads=2, mlp=PlainMLP()),
    "encoder-only": EncoderOnlyConfig(**SIZES, num_layers=1, mlp=PlainMLP(bias=True)),
    # As published but for sizes: gated MLPs, grouped heads, rotary positions, the head of a masked LM.
    "t5-1.1": replace(preset("t5-1.1-small"), **WIDE, num_encoder_layers=1, num_decoder_layers=1),
    "llama3": replace(preset("llama3-8b"), **WIDE, num_layers=2, num_kv_heads=2),
    "bert": replace(preset("bert-base"), **WIDE, num_layers=1, head="masked_lm"),
    "modernbert": replace(preset("modernbert-base"), **WIDE, num_layers=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_exact_is_what_xla_counts_of_the_gradient(name):
    """Unrolled and for two rows; XLA counts norms, softmax, activations and sums besides."""
    model = build(MODELS[name], Execution(scan_unroll=-1))
    shape = Shape(model=MODELS[name], encoder_length=48, decoder_length=24)
    batch = {
        f"{side}_input_tokens": jax.ShapeDtypeStruct((2, shape.lengths[f"{side}_length"]), "int32")
        for side in MODELS[name].sides
    }

    def loss(params, batch):
        outputs = jax.tree.leaves(model.bind(params)(batch))
        return sum(jnp.sum(jax.nn.logsumexp(each, axis=-1)) for each in outputs)

    lowered = jax.jit(jax.grad(loss)).lower(model.abstract_params, batch)
    counted = lowered.compile().cost_analysis()["flops"]
    assert 2 * CONVENTIONS["exact"].row_flops(shape) == pytest.approx(counted, rel=0.03)


def test_a_window_counts_the_keys_that_it_shows():
    whole = replace(preset("gpt2"), attention=AttentionConfig(scaled=True))
    windowed = replace(whole, attention=WINDOWED)
    for counted in (CONVENTIONS["exact"], CONVENTIONS["chinchilla"]):
        difference = counted.row_flops(Shape(model=whole, decoder_length=1024)) - counted.row_flops(
            Shape(model=windowed, decoder_length=1024)
        )
        softmax = 0 if counted is CONVENTIONS["exact"] else 3 * 12
        assert difference == 3 * 6 * 1024 * (1024 - 16) * (4 * 768 + softmax)


@pytest.mark.parametrize("name", ["bert-base", "gpt2"])
def test_a_window_is_as_wide_as_its_mask(name):
    """XLA counts what is masked, too."""
    model = replace(preset(name), attention=WINDOWED)
    (windowed,) = (each.attention for each in model.stacks[0].counts if each.attention.window)
    mask = AttentionMask(causal=not model.stacks[0].bidirectional, window=windowed.window)
    for length in (8, 64):
        assert int(mask.visible(length, length).sum(-1).max()) == windowed.num_visible(length)


def test_texts_that_are_encoded_apart_are_sequences_of_their_own():
    """They see themselves alone, and a learned table need not be as long as a row of them."""
    model = replace(FAMILIES["bert"], head="sentence_embedding", max_length=16)
    triplets = TextPairsDataConfig(store="x", inputs_length=16, hard_negatives=True)
    recipe = run_config.load(place("tests/e2e/tiny_bert_recipe.py"))
    config = replace(recipe, model=model, data=triplets, evaluations={})
    batch, steps = config.training.batch_size, config.training.total_steps
    alone = {"batch_size": 3 * batch, "encoder_length": 16}
    count = count_run(config)
    assert (count.tokens, count.flops) == (steps * batch * 48, steps * train_step_flops(model, **alone))
    for counted in CONVENTIONS.values():
        one = counted.row_flops(Shape(model=model, encoder_length=16))
        assert counted.row_flops(shape_of(config)) == 3 * one
    functional = build(model)
    optimizer = config.build_optimizer(functional)
    planned, apart = (
        CostModel(functional, optimizer, parse_topology("v5e:1x1"), shape).on(
            abstract_partitioner(PartitioningConfig(), 1)
        )
        for shape in (batch_shape(config), BatchShape(**alone))
    )
    assert planned.predict(PlannedExecution()) == apart.predict(PlannedExecution())
    with pytest.raises(ConfigError, match="17"):
        replace(config, data=replace(triplets, inputs_length=17))


def test_a_recipe_and_a_shape_are_counted_alike(capsys):
    recipe = ["scaling", "count", "--config", "configs/pretrain_small.py"]
    assert main(recipe) == 0
    assert "22,815,360 parameters" in capsys.readouterr().out
    assert main(["scaling", "count", "--model", "gpt3-175b", "--tokens", "300e9"]) == 0
    assert "3.143e+23" in capsys.readouterr().out
    assert main([*recipe, "--tokens", "1e9"]) == 2
    assert "the recipe says it" in capsys.readouterr().err
    assert main(["scaling", "count", "--model", "gpt2", "--encoder-length", "9"]) == 2
    assert "has no such side" in capsys.readouterr().err
    assert main(["scaling", "count"]) == 2


def test_what_is_frozen_costs_less_by_the_exact_convention_alone():
    whole = run_config.load(place("configs/pretrain_small.py"))
    frozen = replace(whole, trainable=("decoder",))
    assert count_run(frozen).flops < count_run(whole).flops
    assert count_run(frozen, "6nd") == count_run(whole, "6nd")


def test_a_run_of_epochs_is_not_counted_by_steps_that_it_will_not_make():
    recipe = run_config.load(place("configs/pretrain_small.py"))
    epochs = replace(recipe, training=replace(recipe.training, epochs=2))
    with pytest.raises(ConfigError, match=r"training\.epochs=2: how many steps"):
        count_run(epochs)

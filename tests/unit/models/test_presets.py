"""Every preset has its published number of parameters.

The counts are by arithmetic, which is held equal to the built model's (by ``eval_shape``).
"""

from dataclasses import replace

import pytest

from t5lite.core.errors import ConfigError
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters
from t5lite.models.presets import PRESETS, preset, source

# Exactly, of released checkpoints; transformers counts the same for the same shapes.
EXACT = {
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344,
    "t5-1.1-small": 76_961_152,
    "t5-1.1-base": 247_577_856,
    "t5-1.1-large": 783_150_080,
    "t5-1.1-xl": 2_849_757_184,
    "t5-1.1-xxl": 11_135_332_352,
    "mt5-small": 300_176_768,
    "mt5-base": 582_401_280,
    "bert-tiny": 4_433_468,
    "bert-mini": 11_267_900,
    "bert-small": 29_058_876,
    "bert-medium": 41_668_412,
    "bert-base": 110_106_428,
    "bert-large": 336_226_108,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
    "modernbert-base": 149_655_232,
    "modernbert-large": 395_881_664,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama3.1-8b": 8_030_261_248,
    "llama3.1-70b": 70_553_706_496,
    "llama3.1-405b": 405_853_388_800,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "qwen2-0.5b": 494_032_768,
    "qwen2-1.5b": 1_543_714_304,
    "qwen2-7b": 7_615_616_512,
    "qwen2-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "opt-125m": 125_239_296,
    "opt-350m": 331_196_416,
    "opt-1.3b": 1_315_758_080,
    "opt-2.7b": 2_651_596_800,
    "opt-6.7b": 6_658_473_984,
    "opt-13b": 12_853_473_280,
    "t5gemma-s-s": 312_517_632,
    "t5gemma-b-b": 591_490_560,
    "t5gemma-l-l": 1_241_761_792,
    "t5gemma-ml-ml": 2_200_345_344,
    "t5gemma-xl-xl": 3_766_980_608,
    "t5gemma-2b-2b": 5_596_853_760,
    "t5gemma-9b-9b": 20_333_401_088,
    "t5gemma-9b-2b": 12_292_375_296,
    # Counted in transformers' class without the vision tower, its projector and eoi_embedding.
    "t5gemma2-270m-270m": 368_424_192,
    "t5gemma2-1b-1b": 1_697_782_016,
    "t5gemma2-4b-4b": 7_089_110_016,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
}
EXACT |= {
    family + size: EXACT[f"t5-1.1-{size}"]
    for family in ("t5-1.1-lm100k-", "flan-t5-")
    for size in ("small", "base", "large", "xl", "xxl")
}

# In millions, to the digits that are printed in the papers and cards.
ROUNDED = {
    "mt5-large": "1230",
    "mt5-xl": "3743",
    "mt5-xxl": "12.92e3",
    "umt5-small": "306.6",
    "umt5-base": "592.0",
    "umt5-large": "1242",
    "umt5-xl": "3768",
    "umt5-xxl": "12.97e3",
    "byt5-small": "300",
    "byt5-base": "582",
    "byt5-large": "1.23e3",
    "byt5-xl": "3.74e3",
    "byt5-xxl": "12.9e3",
    "ul2-20b": "19.5e3",
    "gpt3-small": "125",
    "gpt3-medium": "356",
    "gpt3-large": "760",
    "gpt3-xl": "1.32e3",
    "gpt3-2.7b": "2.65e3",
    "gpt3-6.7b": "6.66e3",
    "gpt3-13b": "12.85e3",
    "gpt3-175b": "174.6e3",
    "opt-30b": "30e3",
    "opt-66b": "66e3",
    "opt-175b": "175e3",
    "palm-8b": "8.63e3",
    "palm-62b": "62.50e3",
}

# In millions; the cards divide the size of a file by 4 bytes, so they count its header too.
T5_EFFICIENT_CARDS = {
    "t5-efficient-tiny": 15.58,
    "t5-efficient-mini": 31.23,
    "t5-efficient-small": 60.52,
    "t5-efficient-base": 222.93,
    "t5-efficient-large": 737.72,
    "t5-efficient-xl": 2851.66,
    "t5-efficient-xxl": 11307.38,
    "t5-efficient-tiny-nl8": 22.93,
    "t5-efficient-tiny-nl32": 67.06,
}

# What is not kept of these changes their count; how they differ is in their docstrings.
DIFFERENT = ("transformer-base", "transformer-big", "palm-540b", "lamda-137b", "chinchilla-70b")


# One of every family and of every kind of exception; the others are built by a slow test.
REPRESENTATIVE = (
    "t5-small",
    "t5-1.1-small",
    "umt5-small",
    "byt5-small",
    "ul2-20b",
    "t5gemma-9b-2b",
    "t5gemma2-270m-270m",
    "t5-efficient-tiny",
    "transformer-base",
    "bert-tiny",
    "roberta-base",
    "modernbert-base",
    "gpt2",
    "gpt3-xl",
    "opt-125m",
    "opt-350m",
    "palm-8b",
    "lamda-137b",
    "chinchilla-70b",
    "llama2-7b",
    "llama3-8b",
)


def in_millions(name: str) -> float:
    return count_parameters(preset(name)) / 1e6


def test_every_preset_has_a_published_count():
    assert set(PRESETS) == (set(EXACT) | set(ROUNDED) | set(T5_EFFICIENT_CARDS) | set(DIFFERENT)) & set(
        PRESETS
    )


@pytest.mark.parametrize("name", EXACT)
def test_parameter_count_is_exactly_the_published_one(name):
    assert count_parameters(preset(name)) == EXACT[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_parameter_count_is_the_published_one_to_its_digits(name):
    digits, _, exponent = ROUNDED[name].partition("e")
    half_of_the_last_digit = 0.5 * 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    assert abs(in_millions(name) - float(ROUNDED[name])) <= half_of_the_last_digit


@pytest.mark.parametrize("name", T5_EFFICIENT_CARDS)
def test_parameter_count_is_that_of_the_card(name):
    assert 0.998 * T5_EFFICIENT_CARDS[name] < in_millions(name) < T5_EFFICIENT_CARDS[name]


def test_base_transformers_are_near_their_rounded_counts():
    """One vocabulary size gives both printed counts only roughly; the paper says "about 37000"."""
    assert in_millions("transformer-base") == pytest.approx(65, rel=0.03)
    assert in_millions("transformer-big") == pytest.approx(213, rel=0.01)


def test_palm_540b_counts_without_the_scales_of_its_norms():
    config = preset("palm-540b")
    assert isinstance(config, DecoderOnlyConfig)
    scales = (config.num_layers + 1) * config.embed_dim / 1e6
    assert f"{(in_millions('palm-540b') - scales) / 1e3:.2f}" == "540.35"


def test_lamda_counts_without_its_embeddings():
    config = preset("lamda-137b")
    assert round(in_millions("lamda-137b") / 1e3 - config.vocab_size * config.embed_dim / 1e9) == 137


def test_chinchilla_lacks_the_kernel_of_transformer_xl_positions():
    config = preset("chinchilla-70b")
    assert isinstance(config, DecoderOnlyConfig)
    positions = config.num_layers * config.embed_dim**2 / 1e6
    assert round((in_millions("chinchilla-70b") + positions) / 1e3) == 70


def test_bert_base_counts_as_a_bare_model_with_a_pooler():
    config = preset("bert-base")
    assert isinstance(config, EncoderOnlyConfig)
    assert build(replace(config, head="pooled")).num_params == 109_482_240


@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_arithmetic_counts_what_is_built(name):
    config = preset(name)
    assert count_parameters(config) == build(config).num_params


@pytest.mark.slow
def test_arithmetic_counts_what_is_built_of_every_preset():
    wrong = {name for name in PRESETS if count_parameters(preset(name)) != build(preset(name)).num_params}
    assert wrong == set()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_source(name):
    about = source(name)
    assert "Source: " in about
    assert len(about.splitlines()[0]) > 20


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("t5-1.1-bas", "t5-1.1-base"),
        ("t5-v1_1-xl", "t5-1.1-xl"),
        ("bert-base-uncased", "bert-base"),
        ("gpt2-small", "gpt2"),
        ("llama-2-7b", "llama2-7b"),
    ],
)
def test_unknown_name_suggests(name, meant):
    with pytest.raises(ConfigError, match=f"unknown model '{name}'; did you mean '{meant}'\\?"):
        preset(name)


def test_a_preset_in_a_recipe_keeps_the_recipe_s_dropout():
    own = EncoderDecoderConfig(
        vocab_size=2176,
        embed_dim=8,
        mlp_dim=8,
        head_dim=4,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dropout_rate=0.1,
    )
    chosen = preset("t5-small").in_place_of(own)
    assert (chosen.embed_dim, chosen.vocab_size) == (512, 32128)
    assert chosen.dropout_rate == 0.1


def test_an_encoder_keeps_the_head_of_the_recipe():
    own = EncoderOnlyConfig(
        embed_dim=8,
        mlp_dim=8,
        head_dim=4,
        num_heads=2,
        num_layers=1,
        head="token_classification",
        num_labels=9,
    )
    chosen = preset("bert-tiny").in_place_of(own)
    assert isinstance(chosen, EncoderOnlyConfig)
    assert (chosen.head, chosen.num_labels, chosen.embed_dim) == ("token_classification", 9, 128)


@pytest.mark.parametrize("head", ["sequence_classification", "token_classification"])
def test_a_classifier_taken_as_the_shape_has_its_own_number_of_classes(head):
    sizes = {"embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2, "num_layers": 1}
    own = EncoderOnlyConfig(**sizes, head=head, num_labels=2)
    source = EncoderOnlyConfig(**sizes, head=head, num_labels=3)
    assert source.in_place_of(own).num_labels == 3
    other = {"sequence_classification", "token_classification"} - {head}
    for kind in (*other, "masked_lm"):
        chosen = EncoderOnlyConfig(**sizes, head=kind, num_labels=3).in_place_of(own)
        assert (chosen.head, chosen.num_labels) == (head, 2)

import jax
import pytest
from tiny_models import make_config

from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderOnlyConfig,
    Execution,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    PlainMLP,
    RotaryPositions,
)
from t5lite.models.flops import forward_flops, train_flops_per_token, train_step_flops
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters
from t5lite.models.presets import preset

SHAPE = {
    "vocab_size": 512,
    "embed_dim": 256,
    "mlp_dim": 512,
    "head_dim": 32,
    "num_heads": 4,
}
LAYERS = {"num_encoder_layers": 1, "num_decoder_layers": 2}
# ReLU: XLA counts some thirty operations for the erf of each exact gelu.
BERT = {**SHAPE, "num_layers": 1, "num_labels": 9, "mlp": PlainMLP(bias=True)}
CONFIGS: dict[str, ModelConfig] = {
    "pretraining": EncoderOnlyConfig(**BERT, head="pretraining"),
    "sequences": EncoderOnlyConfig(**BERT, head="sequence_classification"),
    "labels": EncoderOnlyConfig(**BERT, head="token_classification"),
    "spans": EncoderOnlyConfig(**BERT, head="span_extraction"),
    "t5_1_0": make_config(**SHAPE, **LAYERS, mlp=PlainMLP(), tie_embeddings=True),
    "t5_1_1_grouped": make_config(**SHAPE, **LAYERS, num_kv_heads=2),
    "llama": DecoderOnlyConfig(**SHAPE, num_layers=2, num_kv_heads=2),
    "palm": DecoderOnlyConfig(
        **SHAPE, num_layers=2, num_kv_heads=1, parallel_block=True, norm=LayerNorm(bias=False)
    ),
    "merged": make_config(
        **SHAPE, **LAYERS, num_kv_heads=1, mlp=PlainMLP(), positions=RotaryPositions(), merged_attention=True
    ),
    "narrow_table": DecoderOnlyConfig(**SHAPE, num_layers=2, table_dim=32, positions=LearnedPositions()),
}
ENCODER, DECODER = 24, 20


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_compilers_count_of_a_forward_pass(name):
    """XLA counts everything, norms and softmax included, so its figure is a little larger."""
    config = CONFIGS[name]
    model = build(config, Execution(scan_unroll=-1))
    batch = {
        "encoder_input_tokens": jax.ShapeDtypeStruct((2, ENCODER), "int32"),
        "decoder_input_tokens": jax.ShapeDtypeStruct((2, DECODER), "int32"),
    }
    lowered = jax.jit(lambda p, b: model.bind(p)(b)).lower(model.abstract_params, batch)
    counted = lowered.compile().cost_analysis()["flops"]
    analytic = forward_flops(config, batch_size=2, encoder_length=ENCODER, decoder_length=DECODER)
    assert 0.95 * counted < analytic < counted


def test_a_train_step_is_three_forward_passes_and_linear_in_the_batch():
    config = make_config()
    lengths = {"encoder_length": 512, "decoder_length": 114}
    one = train_step_flops(config, batch_size=1, **lengths)
    assert one == 3 * forward_flops(config, batch_size=1, **lengths)
    assert train_step_flops(config, batch_size=8, **lengths) == 8 * one


def test_equals_the_compilers_count_of_a_gradient():
    config = DecoderOnlyConfig(**SHAPE, num_layers=1)
    model = build(config, Execution(scan_unroll=-1))
    batch = {"decoder_input_tokens": jax.ShapeDtypeStruct((2, DECODER), "int32")}
    gradient = jax.jit(jax.grad(lambda p, b: jax.nn.logsumexp(model.bind(p)(b), axis=-1).sum()))
    counted = gradient.lower(model.abstract_params, batch).compile().cost_analysis()["flops"]
    analytic = train_step_flops(config, batch_size=2, decoder_length=DECODER)
    assert 0.95 * counted < analytic < 1.02 * counted


def test_a_stack_that_is_not_there_costs_nothing():
    gpt, bert = CONFIGS["llama"], CONFIGS["spans"]
    assert forward_flops(gpt, batch_size=1, encoder_length=9, decoder_length=8) == forward_flops(
        gpt, batch_size=1, decoder_length=8
    )
    assert train_flops_per_token(bert, encoder_length=9, decoder_length=8) == train_flops_per_token(
        bert, encoder_length=9
    )


@pytest.mark.parametrize("name", ["gpt3-175b", "palm-540b", "llama2-70b"])
def test_a_token_costs_about_six_times_the_parameters(name):
    """The usual rule of thumb (Kaplan et al. 2020), with attention on top."""
    config = preset(name)
    per_token = train_flops_per_token(config, decoder_length=2048)
    assert 1.0 < per_token / (6 * count_parameters(config)) < 1.05

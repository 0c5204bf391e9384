"""Counting by arithmetic gives what is built, for every option that has parameters."""

from typing import get_args

import pytest
from architectures import BIASES
from tiny_models import make_config

from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderOnlyConfig,
    GatedMLP,
    Head,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    StackSizes,
)
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters

SHAPE = {"vocab_size": 40, "embed_dim": 16, "mlp_dim": 24, "head_dim": 4, "num_heads": 4, "num_layers": 3}

CONFIGS: dict[str, ModelConfig] = {
    **{head: EncoderOnlyConfig(**SHAPE, head=head, num_labels=5, table_dim=8) for head in get_args(Head)},
    "no_token_types": EncoderOnlyConfig(**SHAPE, num_token_types=0, positions=RelativePositions()),
    "transformed_labels": EncoderOnlyConfig(
        **SHAPE, head="span_extraction", label_transform=True, head_bias=False
    ),
    "rms_biases": DecoderOnlyConfig(**SHAPE, **{**BIASES, "norm": RMSNorm()}, num_kv_heads=2),
    "layer_no_biases": DecoderOnlyConfig(
        **SHAPE, norm=LayerNorm(bias=False), parallel_block=True, num_kv_heads=1
    ),
    "layer_biases_parallel": DecoderOnlyConfig(**SHAPE, **BIASES, parallel_block=True),
    "narrow_untied": DecoderOnlyConfig(**SHAPE, table_dim=8, positions=LearnedPositions(offset=2)),
    "narrow_tied": DecoderOnlyConfig(**SHAPE, table_dim=8, tie_embeddings=True, norm_placement="post"),
    "relative_per_layer": make_config(positions=RelativePositions(per_layer=True), embedding_norm=True),
    "post_norm": make_config(
        **{**BIASES, "mlp": GatedMLP(activation="silu", bias=True)}, norm_placement="post"
    ),
    "learned": make_config(positions=LearnedPositions(), tie_embeddings=True, mlp=PlainMLP()),
    "around": make_config(norm_placement="around", attention=AttentionConfig(qk_norm=True, biases="qkv")),
    "first_norm_left_out": EncoderOnlyConfig(
        **SHAPE,
        norm=LayerNorm(bias=False),
        norm_placement="pre",
        first_norm=False,
        head_bias=False,
        attention=AttentionConfig(scaled=True, windows=(None, 3, 3)),
    ),
    "unequal_sides": make_config(
        encoder_sizes=StackSizes(embed_dim=24, mlp_dim=8, head_dim=2, num_heads=6, num_kv_heads=3),
        separate_tables=True,
        tie_embeddings=True,
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_arithmetic_equals_the_built_model(name):
    assert count_parameters(CONFIGS[name]) == build(CONFIGS[name]).num_params

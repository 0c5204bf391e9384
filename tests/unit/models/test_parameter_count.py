"""Counting by arithmetic gives what is built, for every option that has parameters."""

from typing import get_args

import pytest
from tiny_models import make_config

from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, Head, ModelConfig
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters

SHAPE = {"vocab_size": 40, "embed_dim": 16, "mlp_dim": 24, "head_dim": 4, "num_heads": 4, "num_layers": 3}

CONFIGS: dict[str, ModelConfig] = {
    **{head: EncoderOnlyConfig(**SHAPE, head=head, num_labels=5, table_dim=8) for head in get_args(Head)},
    "no_token_types": EncoderOnlyConfig(**SHAPE, num_token_types=0, positions="relative"),
    "rms_biases": DecoderOnlyConfig(**SHAPE, biases=True, num_kv_heads=2),
    "layer_no_biases": DecoderOnlyConfig(**SHAPE, norm="layer", parallel_block=True, num_kv_heads=1),
    "layer_biases_parallel": DecoderOnlyConfig(**SHAPE, norm="layer", biases=True, parallel_block=True),
    "narrow_untied": DecoderOnlyConfig(**SHAPE, table_dim=8, positions="learned", position_offset=2),
    "narrow_tied": DecoderOnlyConfig(**SHAPE, table_dim=8, tie_embeddings=True, norm_placement="post"),
    "relative_per_layer": make_config(positions="relative_per_layer", embedding_norm=True),
    "post_norm": make_config(norm="layer", norm_placement="post", biases=True, mlp_activation="swiglu"),
    "learned": make_config(positions="learned", tie_embeddings=True, mlp_activation="relu"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_arithmetic_equals_the_built_model(name):
    assert count_parameters(CONFIGS[name]) == build(CONFIGS[name]).num_params

import pytest
from architectures import make_config

from t5lite.core.errors import ConfigError
from t5lite.models.config import SinusoidalPositions


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("decoder_only", {"num_layers": 0}, "num_layers=0 must be at least 1"),
        ("decoder_only", {"num_kv_heads": 0}, r"num_kv_heads=0 must divide num_heads=4: one of \[1, 2, 4\]"),
        ("decoder_only", {"num_kv_heads": 3}, "num_kv_heads=3 must divide num_heads=4"),
        ("decoder_only", {"num_kv_heads": -2}, "num_kv_heads=-2 must divide"),
        ("decoder_only", {"parallel_block": True, "norm_placement": "post"}, "parallel_block=True needs"),
        ("decoder_only", {"head_dim": 5}, "head_dim=5 must be even"),
        ("decoder_only", {"positions": SinusoidalPositions(), "embed_dim": 15}, "embed_dim=15 must be even"),
        ("decoder_only", {"table_dim": 0}, "table_dim=0 must be at least 1"),
        ("decoder_only", {"logit_scale": 0.0}, "output_scale=0.0 must be positive and finite"),
        ("encoder_only", {"head": "mask_lm"}, "unknown head='mask_lm'; did you mean 'masked_lm'"),
        ("encoder_only", {"tie_embeddings": False}, "head='masked_lm' predicts tokens with the embedding"),
        ("encoder_only", {"num_labels": 0}, "num_labels=0 must be at least 1"),
        ("encoder_only", {"num_token_types": -1}, "num_token_types=-1"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_named(architecture, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(architecture, **changes)


def test_no_number_of_key_and_value_heads_means_one_for_each_query_head():
    assert make_config("decoder_only").kv_heads == 4
    assert make_config("decoder_only", num_kv_heads=2).kv_heads == 2

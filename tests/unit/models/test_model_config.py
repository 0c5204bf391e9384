import math
import subprocess
import sys

import pytest
from tiny_models import make_config

from t5lite.core.errors import ConfigError
from t5lite.models.config import (
    AttentionConfig,
    Execution,
    GatedMLP,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    NormalInitializer,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    StackSizes,
)

NARROW = StackSizes(embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 0}, "embed_dim=0 must be at least 1"),
        ({"mlp_dim": 1 << 31}, "mlp_dim=2147483648 must be at most 2147483647, JAX's largest index"),
        ({"num_encoder_layers": 10**30}, "num_encoder_layers=10+ must be at most 2147483647"),
        ({"num_heads": -2}, "num_heads=-2"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"first_norm": False, "norm_placement": "post"}, "first_norm=False leaves out a norm before"),
        ({"separate_tables": True, "table_dim": 8}, "table_dim=8 is of one table"),
        (
            {"encoder_sizes": StackSizes(embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2)},
            "set separate_tables",
        ),
        (
            {"encoder_sizes": StackSizes(embed_dim=0, mlp_dim=8, head_dim=4, num_heads=2)},
            "encoder_sizes.embed_dim=0 must be at least 1",
        ),
        (
            {"encoder_sizes": StackSizes(embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_kv_heads=3)},
            "encoder_sizes.num_kv_heads=3 must divide encoder_sizes.num_heads=2",
        ),
        (
            {"merged_attention": True},
            "merged_attention=True has no distance .* positions=RelativePositions .* use rotary, learned",
        ),
        (
            {"merged_attention": True, "positions": RelativePositions(per_layer=True)},
            "merged_attention=True has no distance .* positions=RelativePositions",
        ),
        (
            {
                "merged_attention": True,
                "positions": RotaryPositions(),
                "encoder_sizes": NARROW,
                "separate_tables": True,
            },
            "encoder_sizes.embed_dim=8 must be embed_dim=16; make them equal, or leave",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**changes)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (RelativePositions, {"num_buckets": 6}, "num_buckets=6 must be a positive multiple of 4"),
        (RelativePositions, {"num_buckets": 64, "max_distance": 32}, "max_distance=32 must exceed the 32"),
        (LearnedPositions, {"offset": -1}, "offset=-1"),
        (RotaryPositions, {"base": math.inf}, "base=inf must be positive and finite"),
        (RotaryPositions, {"local_base": 0.0}, "local_base=0.0 must be positive"),
        (LinearScaling, {"factor": 0.0}, "factor=0.0 must be positive"),
        (Llama3Scaling, {"low_frequency_factor": 4.0}, "low_frequency_factor=4.0 must be below"),
        (RMSNorm, {"epsilon": 0.0}, "epsilon=0.0"),
        (LayerNorm, {"epsilon": math.nan}, "epsilon=nan must be positive and finite"),
        (GatedMLP, {"activation": "glue"}, "activation='glue'; did you mean 'gelu'"),
        (NormalInitializer, {"std": -1.0}, "std=-1.0"),
        (AttentionConfig, {"biases": "some"}, "biases='some'"),
        (AttentionConfig, {"windows": ()}, "says nothing of any layer"),
        (AttentionConfig, {"windows": (4, 0)}, "a window must be an integer from 1, or None"),
        (AttentionConfig, {"windows": (4.0,)}, "a window must be an integer from 1, or None"),
        (AttentionConfig, {"softcap": 0.0}, "softcap=0.0"),
        (AttentionConfig, {"scale_dim": 8}, "scale_dim=8 needs attention.scaled=True"),
        (Execution, {"scan_unroll": 0}, "scan_unroll=0"),
        (Execution, {"compute_dtype": "float16"}, "compute_dtype='float16'"),
        (Execution, {"remat": "some"}, "remat='some'"),
        (Execution, {"remat": "save"}, "remat='save' needs remat_names, one or more of layer_input, query"),
        (
            Execution,
            {"remat": "full", "remat_names": ("query",)},
            "no effect with remat='full'; use remat='save'",
        ),
        (
            Execution,
            {"remat": "save", "remat_names": ("mlp_w",)},
            "remat_names.*'mlp_w'; did you mean 'mlp_wi'",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_of_a_part_is_named(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        kind(**values)


def test_configuration_and_presets_do_not_import_jax():
    code = "import sys, t5lite.models.presets; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

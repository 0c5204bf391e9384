import subprocess
import sys

import pytest
from tiny_models import make_config

from t5lite.core.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 0}, "embed_dim=0 must be at least 1"),
        ({"num_heads": -2}, "num_heads=-2"),
        ({"relpos_buckets": 6}, "relpos_buckets=6 must be a positive multiple of 4"),
        ({"relpos_buckets": 64, "relpos_max_distance": 32}, "relpos_max_distance=32 must exceed the 32"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"norm_epsilon": 0.0}, "norm_epsilon=0.0"),
        ({"scan_unroll": 0}, "scan_unroll=0"),
        ({"mlp_activation": "glue"}, "mlp_activation='glue'; did you mean 'gelu'"),
        ({"compute_dtype": "float16"}, "compute_dtype='float16'"),
        ({"remat": "some"}, "remat='some'"),
        ({"remat": "save"}, "remat='save' needs remat_names, one or more of layer_input, query"),
        ({"remat": "full", "remat_names": ("query",)}, "no effect with remat='full'; use remat='save'"),
        ({"remat": "save", "remat_names": ("mlp_w",)}, "remat_names.*'mlp_w'; did you mean 'mlp_wi'"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**changes)


def test_configuration_and_presets_do_not_import_jax():
    code = "import sys, t5lite.models.presets; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

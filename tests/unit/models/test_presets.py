import pytest

from t5lite.core.errors import ConfigError
from t5lite.models.functional import build
from t5lite.models.presets import PRESETS, preset

# To the precision of the published tables (shared/reference/t5_numerics.md), in millions.
PUBLISHED = {
    "t5-small": "60.51",
    "t5-base": "222.90",
    "t5-large": "737.67",
    "t5-3b": "2852",
    "t5-11b": "11307",
    "t5-1.1-small": "76.96",
    "t5-1.1-base": "247.58",
    "t5-1.1-large": "783.15",
    "t5-1.1-xl": "2850",
    "t5-1.1-xxl": "11135",
}


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_count_is_the_published_one(name):
    decimals = len(PUBLISHED[name].partition(".")[2])
    assert f"{build(preset(name)).num_params / 1e6:.{decimals}f}" == PUBLISHED[name]


def test_unknown_name_suggests():
    with pytest.raises(ConfigError, match=r"unknown preset 't5-1.1-bas'; did you mean 't5-1.1-base'\?"):
        preset("t5-1.1-bas")

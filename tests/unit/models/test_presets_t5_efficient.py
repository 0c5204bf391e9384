"""Names of T5-Efficient: a size, then what differs from it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.presets import preset, source
from t5lite.models.presets.t5_efficient import CHANGES, PRESETS


def shape(name: str) -> tuple[int, ...]:
    config = preset(name)
    assert isinstance(config, EncoderDecoderConfig)
    return (
        config.num_encoder_layers,
        config.num_decoder_layers,
        config.embed_dim,
        config.mlp_dim,
        config.num_heads,
        config.head_dim,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny", (4, 4, 256, 1024, 4, 64)),
        ("tiny-nl8", (8, 8, 256, 1024, 4, 64)),
        ("base-dl6", (12, 6, 768, 3072, 12, 64)),
        ("base-el2", (2, 12, 768, 3072, 12, 64)),
        ("base-kv16", (12, 12, 768, 3072, 12, 16)),
        ("base-dm256", (12, 12, 256, 3072, 12, 64)),
        ("base-nh24", (12, 12, 768, 3072, 24, 64)),
        ("small-el16-dl2", (16, 2, 512, 2048, 8, 64)),
        ("small-ff9000", (6, 6, 512, 9000, 8, 64)),
    ],
)
def test_the_name_is_the_shape(name, expected):
    assert shape(f"t5-efficient-{name}") == expected


@settings(deadline=None, max_examples=30)
@given(
    size=st.sampled_from(sorted(PRESETS)),
    changes=st.dictionaries(st.sampled_from(sorted(set(CHANGES) - {"nl"})), st.integers(1, 99)),
)
def test_every_change_sets_its_field_and_no_other(size, changes):
    plain, changed = (
        preset(size),
        preset("-".join([size, *(f"{key}{value}" for key, value in changes.items())])),
    )
    set_by_name = {field: value for key, value in changes.items() for field in CHANGES[key]}
    for field in plain.__dataclass_fields__:
        assert getattr(changed, field) == set_by_name.get(field, getattr(plain, field))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tny", "unknown T5-Efficient size 'tny' .*did you mean 'tiny'"),
        ("tiny-nl", "'nl' in 't5-efficient-tiny-nl' has no value"),
        ("tiny-xx3", "unknown change 'xx3'"),
        ("tiny-8", "unknown change '8'"),
        ("tiny-", "unknown change ''"),
        ("tiny-nl99999999999", "unknown change 'nl99999999999'"),
        ("tiny-nl8-el4", "'el4' in .* sets num_encoder_layers again, already 8"),
        ("tiny-dl0", "num_decoder_layers=0 must be at least 1"),
        ("base-sh", "shares heads, which is not supported"),
        ("base-skv", "shares keys and values, which is not supported"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        preset(f"t5-efficient-{name}")


def test_a_changed_shape_has_the_source_of_its_family():
    assert "Tay et al. 2021" in source("t5-efficient-tiny-nl8-dm128")

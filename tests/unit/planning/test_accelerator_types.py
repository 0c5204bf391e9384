"""Slices by Cloud's names."""

import pytest

from t5lite.core.errors import ConfigError
from t5lite.planning.hardware.accelerator_types import described, parse_chips


@pytest.mark.parametrize(
    ("name", "slice_name", "num_devices"),
    [
        ("v5e-1", "v5e:1x1", 1),
        ("v5e-8", "v5e:2x4", 8),
        ("v5litepod-16", "v5e:4x4", 16),
        ("v5e-256", "v5e:16x16", 256),
        ("v6e-64", "v6e:8x8", 64),
        ("v4-8", "v4:2x2x1", 4),
        ("v4-64", "v4:2x4x4", 32),
        ("v5p-128", "v5p:4x4x4", 64),
        ("v5p-256", "v5p:4x4x8", 128),
        ("v5p-2048", "v5p:8x8x16", 1024),
        ("v5p-12288", "v5p:16x16x24", 6144),
        ("v5p:4x4x8", "v5p:4x4x8", 128),
        ("v3-32", "v3:4x4", 32),
        ("h100-64", "h100:8x8", 64),
        ("a100-4", "a100:1x4", 4),
    ],
)
def test_names_are_cloud_s(name: str, slice_name: str, num_devices: int):
    topology = parse_chips(name)
    assert topology.slice_name == slice_name
    assert topology.num_devices == num_devices


def test_slices_multiply():
    assert parse_chips("v5e-256", num_slices=2).num_devices == 512


def test_cores_are_explained():
    assert described(parse_chips("v5p-128")) == "v5p:4x4x4, 64 chips (Cloud's v5p-128 counts cores)"
    assert described(parse_chips("v5e-256", num_slices=2)) == "2 x v5e:16x16, 256 chips each"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e", "v5e-256"),
        ("v5x-256", "did you mean 'v5"),
        ("v5e-100", "v5e-64 or v5e-128"),
        ("v5p-129", "two cores a chip.*v5p-128 or v5p-256"),
        ("h100-12", "h100-8 or h100-16"),
        ("v5e-0", "must be a chip and a number"),
        ("v5p:4x4", "3 dimensions"),
        ("", "must be a chip"),
    ],
)
def test_a_wrong_name_is_refused_with_a_remedy(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        parse_chips(name)

"""Names of topologies, what is said about wrong ones, and how fast groups of devices exchange data."""

import pytest

from t5lite.core.errors import ConfigError
from t5lite.planning.hardware.chips import CHIPS
from t5lite.planning.hardware.gpu import target_config
from t5lite.planning.hardware.links import route
from t5lite.planning.hardware.topology import compile_only_devices, coordinates, parse_topology

TPUS = sorted(name for name, chip in CHIPS.items() if chip.platform == "tpu")
GPUS = sorted(name for name, chip in CHIPS.items() if chip.platform == "gpu")


@pytest.mark.parametrize(
    ("name", "num_slices", "devices", "written"),
    [
        ("v5e:16x16", 1, 256, "v5e:16x16"),
        ("v5p:4x4x8", 2, 256, "2 x v5p:4x4x8"),
        ("v3:4x4", 1, 32, "v3:4x4"),
        ("tpu7x:2x2x1", 1, 8, "tpu7x:2x2x1"),
    ],
)
def test_a_name_says_how_many_devices_there_are(name, num_slices, devices, written):
    topology = parse_topology(name, num_slices=num_slices)
    assert (topology.num_devices, str(topology)) == (devices, written)


@pytest.mark.parametrize(
    ("name", "num_slices", "message"),
    [
        ("v5", 1, r"'v5' names no known chip; did you mean 'v5p'\? allowed: .*v6e"),
        ("", 1, "names no known chip"),
        ("v5e:16", 1, r"v5e is arranged in 2 dimensions, such as v5e:4x4"),
        ("v5p:4x4", 1, r"v5p is arranged in 3 dimensions, such as v5p:4x4x4"),
        ("v5e:0x4", 1, "2 dimensions"),
        ("v5e:4x4x", 1, "2 dimensions"),
        ("v5e:4x-4", 1, "2 dimensions"),
        ("v5e:999999x4", 1, "2 dimensions"),
        ("v5e:4x4", 0, "num_slices=0 must be 1 or more"),
        ("v5e:4x4", 10**11, r"1000\d+ x v5e:4x4 has 1,600,000,000,000 devices; give one of at most 131,072$"),
        ("v5e:99999x99999", 1, "has 9,999,800,001 devices"),
        ("h100:99999x8", 1, "has 799,992 devices"),
        ("h100:8", 1, r"h100 is arranged in 2 dimensions"),
        ("h100:8x8", 2, r"num_slices=2 is of TPUs; name all the nodes"),
    ],
)
def test_a_wrong_name_is_refused(name, num_slices, message):
    with pytest.raises(ConfigError, match=message):
        parse_topology(name, num_slices=num_slices)


@pytest.mark.parametrize("name", TPUS)
def test_devices_are_what_the_data_sheet_is_of(name):
    topology = parse_topology(f"{name}:{'x'.join(['2', '2', '1'][: CHIPS[name].torus_dims])}")
    devices = compile_only_devices(topology)
    assert len(devices) == topology.num_devices
    assert topology.chip.flops_per_second > 1e13
    assert {device.device_kind for device in devices} == {CHIPS[name].device_kind}
    assert len({place[1:3] for place in coordinates(devices)}) == 4


def test_slices_are_told_apart():
    devices = compile_only_devices(parse_topology("v5e:2x2", num_slices=2))
    assert [place[0] for place in coordinates(devices)] == [0] * 4 + [1] * 4


def test_an_arrangement_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"libtpu knows no slice v5e:3x3: .*not divisible"):
        compile_only_devices(parse_topology("v5e:3x3"))


def test_without_the_compiler_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("t5lite.planning.hardware.topology.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs libtpu.*pip install 't5lite\[tpu\]'"):
        compile_only_devices(parse_topology("v5e:2x2"))


@pytest.mark.parametrize(
    ("name", "wraps"),
    [
        ("v5e:16x16", (True, True)),
        ("v5e:8x16", (False, True)),
        ("v5p:4x4x8", (True, True, True)),
        ("v5p:2x4x4", (False, False, False)),
    ],
)
def test_a_slice_is_a_torus_only_where_its_ends_meet(name, wraps):
    assert parse_topology(name).wraps == wraps


def line(topology, dimension, step=1):
    """The places of the devices along one dimension of a slice."""
    size = parse_topology(topology).shape
    return [
        (0, *(number if each == dimension else 0 for each in range(len(size))))
        for number in range(0, size[dimension], step)
    ]


def plane(topology):
    rows, columns = parse_topology(topology).shape
    return [(0, row, column) for row in range(rows) for column in range(columns)]


@pytest.mark.parametrize(
    ("topology", "group", "bandwidth", "resources"),
    [
        # v5e: 200 GB/s by four links. A ring sends both ways along one of two dimensions, a line one way.
        ("v5e:16x16", line("v5e:16x16", 0), 100e9, ("links x",)),
        ("v5e:16x16", plane("v5e:16x16"), 200e9, ("links x", "links y")),
        ("v5e:4x4", line("v5e:4x4", 1), 50e9, ("links y",)),
        ("v5e:4x4", plane("v5e:4x4"), 100e9, ("links x", "links y")),
        # Every fourth device of a ring: four such groups share its links.
        ("v5e:16x16", line("v5e:16x16", 0, step=4), 25e9, ("links x",)),
        # Four neighbours in a ring of sixteen are a line.
        ("v5e:16x16", line("v5e:16x16", 0)[:4], 50e9, ("links x",)),
        ("v5p:4x4x8", line("v5p:4x4x8", 2), 200e9, ("links z",)),
        ("tpu7x:2x2x1", [(0, 0, 0, 0), (0, 0, 0, 0)], 300e9, ("links on chip",)),
        # H100: 450 GB/s within a node, 50 GB/s out of it for each GPU.
        ("h100:2x8", [(0, 0, gpu) for gpu in range(8)], 450e9, ("links",)),
        ("h100:2x8", [(0, node, 3) for node in range(2)], 50e9, ("network",)),
        ("h100:2x8", [(0, node, gpu) for node in range(2) for gpu in range(8)], 400e9, ("network",)),
    ],
)
def test_how_a_group_exchanges_data(topology, group, bandwidth, resources):
    found = route(parse_topology(topology), group)
    assert found.bandwidth == pytest.approx(bandwidth)
    assert found.resources == resources


def test_gpus_without_their_compiler_say_how_to_get_it(monkeypatch):
    monkeypatch.setattr("t5lite.planning.hardware.gpu.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"compiling for h100 needs .*pip install 't5lite\[gpu\]'"):
        compile_only_devices(parse_topology("h100:8x8"))


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_is_described_to_the_compiler(name):
    text = target_config(name, CHIPS[name].device_kind)
    assert CHIPS[name].flops_per_second > 1e14
    assert f'device_description_str: "{CHIPS[name].device_kind}"' in text
    assert text.count("fpus_per_core") == 1
    assert f"l2_cache_size: {CHIPS[name].on_chip_bytes}\n" in text
    assert text.count("{") == text.count("}")

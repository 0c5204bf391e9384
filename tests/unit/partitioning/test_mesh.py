"""Mesh sizes, their messages, and the order of devices across slices."""

import dataclasses
import math

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.partitioning import AXES, PartitioningConfig, make_mesh, mesh_shape
from t5lite.partitioning.mesh import device_array


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    id: int
    slice_index: int = 0
    process_index: int = 0
    platform: str = "cpu"
    device_kind: str = "fake"


@settings(deadline=None, max_examples=30)
@given(sizes=st.tuples(*[st.integers(1, 4)] * 4), open_axis=st.sampled_from([None, *AXES]))
def test_open_axis_takes_the_rest(sizes, open_axis):
    wanted = dict(zip(AXES, sizes, strict=True))
    written = wanted if open_axis is None else {**wanted, open_axis: -1}
    shape = mesh_shape(PartitioningConfig(**written, style="sequence_parallel"), math.prod(sizes))
    assert shape == wanted
    assert tuple(shape) == AXES


def test_default_is_all_devices_on_fsdp():
    assert mesh_shape(PartitioningConfig(), 8) == {"replica": 1, "fsdp": 8, "sequence": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tensor": 3}, r"tensor=3 = 3 does not divide 8 devices.* one of 1, 2, 4, 8"),
        ({"fsdp": 4}, r"mesh fsdp=4 needs 4 devices but 8 are there; set one of .* to -1"),
        ({"fsdp": 8, "tensor": 2}, r"fsdp=8 x tensor=2 needs 16 devices but 8 are there"),
    ],
)
def test_sizes_that_do_not_fit_the_devices(config, message):
    with pytest.raises(ConfigError, match=message):
        mesh_shape(PartitioningConfig(**config), 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fsdp": 0}, "partitioning.fsdp=0 must be"),
        ({"tensor": -2}, "partitioning.tensor=-2 must be"),
        ({"tensor": -1}, "only one mesh axis can be -1, got fsdp and tensor; set partitioning.tensor=1"),
    ],
)
def test_wrong_sizes(config, message):
    with pytest.raises(ConfigError, match=message):
        PartitioningConfig(**config)


def test_mesh_has_auto_axes_in_order():
    mesh = make_mesh(PartitioningConfig(), jax.devices()[:1])
    assert mesh.axis_names == AXES
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}


def test_slices_differ_along_replica_only():
    devices = [FakeDevice(id=i, slice_index=i // 4) for i in range(8)]
    shape = {"replica": 4, "fsdp": 2, "sequence": 1, "tensor": 1}
    array = device_array(shape, devices)
    assert array.shape == (4, 2, 1, 1)
    assert [{device.slice_index for device in row.ravel()} for row in array] == [{0}, {0}, {1}, {1}]


def test_every_host_gets_adjacent_data_positions():
    # A 4 x 4 torus in row-major order, whose hosts are 2 x 2 blocks.
    devices = [FakeDevice(id=i, process_index=i // 8 * 2 + i % 4 // 2) for i in range(16)]
    by_data = device_array({"replica": 1, "fsdp": 16, "sequence": 1, "tensor": 1}, devices).ravel()
    assert [device.process_index for device in by_data] == [host for host in range(4) for _ in range(4)]
    assert {device.id for device in by_data} == set(range(16))
    # A tensor group (a row of the torus) spans two hosts and keeps its order.
    by_tensor = device_array({"replica": 1, "fsdp": 4, "sequence": 1, "tensor": 4}, devices)
    assert [device.id for device in by_tensor.ravel()] == list(range(16))


def test_a_slice_cannot_be_split_along_fsdp():
    devices = [FakeDevice(id=i, slice_index=i // 4) for i in range(8)]
    with pytest.raises(
        ConfigError, match=r"replica=1 is not a multiple of the 2 slices; use partitioning.replica=2"
    ):
        device_array({"replica": 1, "fsdp": 8, "sequence": 1, "tensor": 1}, devices)

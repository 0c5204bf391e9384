"""Where mesh axes lie on a torus, and what they can carry."""

import itertools
import math

import pytest

from t5lite.planning.hardware.chips import CHIPS
from t5lite.planning.hardware.links import route
from t5lite.planning.hardware.mesh_layout import axis_bandwidths
from t5lite.planning.hardware.topology import parse_topology

V5E, V5P = CHIPS["v5e"].link_bandwidth, CHIPS["v5p"].link_bandwidth


@pytest.mark.parametrize(
    ("topology", "mesh", "expected"),
    [
        # One axis over everything has all links.
        ("v5e:16x16", {"fsdp": 256}, {"fsdp": V5E}),
        ("v5p:4x4x8", {"fsdp": 128}, {"fsdp": V5P}),
        # Whole dimensions are rings of their own.
        ("v5e:16x16", {"fsdp": 16, "tensor": 16}, {"fsdp": V5E / 2, "tensor": V5E / 2}),
        ("v5p:4x4x8", {"fsdp": 16, "tensor": 8}, {"fsdp": V5P * 2 / 3, "tensor": V5P / 3}),
        # A slice that is not a whole row of the pod has no link back.
        ("v5e:4x4", {"fsdp": 4, "tensor": 4}, {"fsdp": V5E / 4, "tensor": V5E / 4}),
        # Part of a dimension is a line; what goes on along it skips four chips, and shares their links.
        ("v5e:16x16", {"fsdp": 64, "tensor": 4}, {"tensor": V5E / 4, "fsdp": V5E / 2 + V5E / 2 / 4}),
        # An axis that is left after whole dimensions were taken still has a place.
        ("v5e:4x8", {"replica": 2, "fsdp": 4, "tensor": 4}, None),
        # GPUs of a node share a switch; between nodes, each has an adapter.
        ("h100:4x8", {"fsdp": 4, "tensor": 8}, {"tensor": 450e9, "fsdp": 50e9}),
        ("h100:4x8", {"fsdp": 8, "tensor": 4}, {"tensor": 450e9, "fsdp": 100e9}),
        ("h100:4x8", {"fsdp": 32}, {"fsdp": 400e9}),
        # A chip of two devices joins them itself.
        ("tpu7x:4x4x4", {"fsdp": 64, "tensor": 2}, {"tensor": 300e9, "fsdp": 300e9}),
        # Of eight in a line of four chips a device gets three from the chips beside its own, at 50 GB/s.
        ("tpu7x:1x1x4", {"fsdp": 8}, {"fsdp": 7 / 3 * 50e9}),
    ],
)
def test_bandwidth_follows_the_links(topology: str, mesh: dict[str, int], expected: dict[str, float] | None):
    bandwidths = axis_bandwidths(parse_topology(topology), mesh)
    assert set(bandwidths) == set(mesh)
    assert all(bandwidth > 0 for bandwidth in bandwidths.values())
    if expected is not None:
        assert bandwidths == pytest.approx(expected)


def test_the_part_of_replica_between_slices_is_not_on_the_torus():
    assert "replica" not in axis_bandwidths(
        parse_topology("v5e:4x4", num_slices=2), {"replica": 2, "fsdp": 16}
    )
    assert "replica" in axis_bandwidths(parse_topology("v5e:4x4", num_slices=2), {"replica": 4, "fsdp": 8})


def test_axes_of_one_device_have_no_links():
    assert axis_bandwidths(
        parse_topology("v5e:4x4"), {"replica": 1, "fsdp": 16, "sequence": 1, "tensor": 1}
    ) == {"fsdp": V5E / 2}


@pytest.mark.parametrize(
    "name", ["v5e:16x8", "v5e:4x8", "v4:4x8x16", "v5p:1x2x4", "tpu7x:4x8x16", "tpu7x:1x1x4"]
)
def test_a_predicted_axis_is_as_fast_as_a_compiled_group_in_its_place(name: str):
    """Over every choice of whole rows of the slice, those of a chip included."""
    topology = parse_topology(name)
    rows = (topology.chip.devices_per_chip, *topology.shape)
    choices = [
        chosen
        for count in range(1, len(rows) + 1)
        for chosen in itertools.combinations(range(len(rows)), count)
        if all(rows[each] > 1 for each in chosen)
    ]
    sizes = [math.prod(rows[each] for each in chosen) for chosen in choices]
    for chosen, size in zip(choices, sizes, strict=True):
        if sizes.count(size) > 1:
            continue  # another choice of rows has as many devices
        taken = (range(number if each in chosen else 1) for each, number in enumerate(rows))
        group = [(0, *place) for _, *place in itertools.product(*taken)]
        predicted = axis_bandwidths(topology, {"fsdp": size})["fsdp"]
        assert route(topology, group).bandwidth == pytest.approx(predicted), (chosen, size)


@pytest.mark.parametrize(
    ("mesh", "nodes", "gpus"), [({"fsdp": 32}, 4, 8), ({"fsdp": 8}, 1, 8), ({"fsdp": 4, "tensor": 8}, 4, 1)]
)
def test_so_it_is_among_gpus(mesh: dict[str, int], nodes: int, gpus: int):
    topology = parse_topology("h100:4x8")
    group = [(0, node, gpu) for node in range(nodes) for gpu in range(gpus)]
    assert axis_bandwidths(topology, mesh)["fsdp"] == route(topology, group).bandwidth

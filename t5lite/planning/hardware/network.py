"""How fast a group of devices can exchange data, from where they are."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from t5lite.planning.hardware.topology import Topology

Coordinates = Sequence[int]
"""Where a device is (``topology.coordinates``)."""
NETWORK = "network"
"""Between slices or nodes."""


class Route(NamedTuple):
    """What the data of a group takes."""

    bandwidth: float
    """Bytes a second that each device of the group can send to the others."""
    resources: tuple[str, ...]
    """What is busy meanwhile: ``links x``, ``links y``, ``links z`` of a torus, ``links`` of a node, or
    ``network``."""


def route(topology: Topology, group: Sequence[Coordinates]) -> Route:
    """Return how a group of devices within one slice, or of GPUs anywhere, exchanges data.

    It is a bound: what the links carry if every one of them is busy all the time.
    """
    return _gpus(topology, group) if topology.chip.platform == "gpu" else _torus(topology, group)


def between_slices(topology: Topology) -> Route:
    """Return how a device of a TPU slice exchanges data with its like in other slices."""
    return Route(topology.chip.network_bandwidth, (NETWORK,))


def _torus(topology: Topology, group: Sequence[Coordinates]) -> Route:
    """Every dimension that the group spans carries its part at once.

    In a ring a device sends both ways; along a line that does not wrap around half as much gets through.
    Devices ``n`` places apart share the links between them with ``n - 1`` other groups.
    """
    chip, wraps = topology.chip, topology.wraps
    one_dimension = chip.link_bandwidth / chip.torus_dims
    bandwidth, resources = 0.0, []
    for dimension, along in enumerate(list(zip(*group, strict=True))[1 : 1 + chip.torus_dims]):
        places = sorted(set(along))
        if len(places) == 1:
            continue
        stride = min(after - before for before, after in itertools.pairwise(places))
        if wraps[dimension]:
            stride = min(stride, places[0] + topology.shape[dimension] - places[-1])
        is_ring = wraps[dimension] and len(places) * stride == topology.shape[dimension]
        bandwidth += one_dimension / stride * (1.0 if is_ring else 0.5)
        resources.append(f"links {'xyz'[dimension]}")
    # Two devices of one chip exchange data on the chip, no slower than by all links.
    return Route(bandwidth or chip.link_bandwidth, tuple(resources) or ("links x",))


def _gpus(topology: Topology, group: Sequence[Coordinates]) -> Route:
    """Within a node a switch connects all; between nodes, each GPU sends its part by its own adapter."""
    chip = topology.chip
    nodes = {node for _, node, *_ in group}
    if len(nodes) == 1:
        return Route(chip.link_bandwidth, ("links",))
    in_a_node = len(group) // len(nodes)
    return Route(min(chip.link_bandwidth, in_a_node * chip.network_bandwidth), (NETWORK,))

"""How fast a group of devices can exchange data, from where they are."""

import itertools
from collections.abc import Sequence

from t5lite.planning.topology import Topology

Coordinates = Sequence[int]
"""A device's slice, then its place along each dimension of the torus."""


def spanned_dimensions(group: Sequence[Coordinates]) -> tuple[int, ...]:
    """Return the dimensions of the torus along which the devices of a group differ."""
    places = list(zip(*group, strict=True))[1:]
    return tuple(dimension for dimension, along in enumerate(places) if len(set(along)) > 1)


def links_bandwidth(topology: Topology, group: Sequence[Coordinates]) -> float:
    """Return the bytes a second that each device of a group within one slice can send to the others.

    Every dimension that the group spans carries its part at once. In a ring a device sends both ways; along a
    line that does not wrap around half as much gets through. Devices ``n`` places apart share the links
    between them with ``n - 1`` other groups.

    It is a bound: what the links carry if every one of them is busy all the time.
    """
    chip, wraps = topology.chip, topology.wraps
    one_dimension = chip.link_bandwidth / chip.torus_dims
    total = 0.0
    for dimension in spanned_dimensions(group):
        places = sorted({place[dimension + 1] for place in group})
        stride = min(after - before for before, after in itertools.pairwise(places))
        is_ring = wraps[dimension] and len(places) * stride == topology.shape[dimension]
        total += one_dimension / stride * (1.0 if is_ring else 0.5)
    # Two devices of one chip exchange data on the chip, no slower than by all links.
    return total or chip.link_bandwidth

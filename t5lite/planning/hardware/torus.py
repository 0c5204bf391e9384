"""Where the axes of a mesh lie in a slice, and how many bytes a second each can carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import gcd, prod

from t5lite.planning.hardware.topology import Topology

_FASTEST_FIRST = ("tensor", "sequence", "fsdp", "replica")
"""The order in which axes choose their places: those that split one example come first."""
_LINE = 0.5
"""Share of a ring's bandwidth that is left without the link from the last device to the first."""


@dataclass
class _Dimension:
    """One dimension of a slice while axes are being laid along it."""

    size: int
    bandwidth: float
    """Bytes a second of a device along the whole of it."""
    wraps: bool
    taken: int = 1
    """Devices between neighbours of the next axis that is laid along it."""

    @property
    def free(self) -> int:
        return self.size // self.taken


def axis_bandwidths(topology: Topology, mesh_shape: Mapping[str, int]) -> dict[str, float]:
    """Return the bytes a second that a device can send along every mesh axis of more than one device.

    An axis takes whole dimensions of the torus where their sizes multiply to its own, as
    ``jax.experimental.mesh_utils`` places it, and uses the links of all of them at once. Part of a dimension
    is a line, not a ring: half as fast. An axis whose neighbours are n devices apart shares every link with
    n - 1 others. ``replica`` counts with what is left of it within a slice. Of GPUs an axis takes those of a
    node first; between nodes each sends its part by its own adapter.
    """
    sizes = dict(mesh_shape)
    sizes["replica"] = max(1, sizes.get("replica", 1) // topology.num_slices)
    if topology.chip.platform == "gpu":
        return _among_gpus(topology, sizes)
    dimensions = _dimensions(topology)
    return {axis: _lay(sizes[axis], dimensions) for axis in _FASTEST_FIRST if sizes.get(axis, 1) > 1}


def _among_gpus(topology: Topology, sizes: Mapping[str, int]) -> dict[str, float]:
    """Return the bandwidths where a switch joins the GPUs of a node, and an adapter a GPU the nodes."""
    chip, free = topology.chip, topology.shape[-1]
    bandwidths = {}
    for axis in _FASTEST_FIRST:
        size = sizes.get(axis, 1)
        in_a_node = gcd(size, free)
        free //= in_a_node
        if size > 1:
            between = in_a_node * chip.network_bandwidth if size > in_a_node else chip.link_bandwidth
            bandwidths[axis] = min(chip.link_bandwidth, between)
    return bandwidths


def _dimensions(topology: Topology) -> list[_Dimension]:
    chip = topology.chip
    along_torus = [
        _Dimension(size, chip.link_bandwidth / chip.torus_dims, wraps)
        for size, wraps in zip(topology.shape, topology.wraps, strict=True)
    ]
    if chip.devices_per_chip == 1:
        return along_torus
    return [_Dimension(chip.devices_per_chip, chip.link_bandwidth, True), *along_torus]


def _lay(size: int, dimensions: list[_Dimension]) -> float:
    """Take places for an axis and return the bytes a second that it gets."""
    whole = _whole_dimensions(size, dimensions)
    if whole:
        for dimension in whole:
            dimension.taken = dimension.size
        return sum(each.bandwidth * (1.0 if each.wraps else _LINE) for each in whole)
    bandwidth = 0.0
    for dimension in sorted(dimensions, key=lambda each: -each.free):
        part = gcd(size, dimension.free)
        if part > 1:
            is_ring = dimension.wraps and dimension.taken * part == dimension.size
            bandwidth += dimension.bandwidth * (1.0 if is_ring else _LINE) / dimension.taken
            dimension.taken *= part
            size //= part
    return bandwidth


def _whole_dimensions(size: int, dimensions: list[_Dimension]) -> tuple[_Dimension, ...]:
    untouched = [dimension for dimension in dimensions if dimension.taken == 1 and dimension.size > 1]
    for count in range(len(untouched), 0, -1):
        for chosen in combinations(untouched, count):
            if prod(dimension.size for dimension in chosen) == size:
                return chosen
    return ()

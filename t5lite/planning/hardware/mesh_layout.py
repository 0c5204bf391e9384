"""Where the axes of a mesh lie in a slice, and so how many bytes a second each can carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import gcd, prod

from t5lite.partitioning.mesh import AXES
from t5lite.planning.hardware.links import Row, among_gpus, rows, together
from t5lite.planning.hardware.topology import Topology

_FASTEST_FIRST = AXES[::-1]
"""The order in which axes choose their places: those that split one example come first."""


@dataclass
class _Taken:
    """A row of a slice while axes are being laid along it."""

    row: Row
    stride: int = 1
    """Devices between neighbours of the next axis that is laid along it."""

    @property
    def free(self) -> int:
        return self.row.size // self.stride

    def take(self, count: int) -> tuple[int, float]:
        """Take places for an axis; return their number and the bytes a second that it gets along them."""
        bandwidth = self.row.carries(count, self.stride)
        self.stride *= count
        return count, bandwidth


def axis_bandwidths(topology: Topology, mesh_shape: Mapping[str, int]) -> dict[str, float]:
    """Return the bytes a second that a device can send along every mesh axis of more than one device.

    An axis takes whole rows (``links.rows``) where their sizes multiply to its own, as
    ``jax.experimental.mesh_utils`` places it, and uses the links of all of them at once; else parts of rows.
    ``replica`` counts with what is left of it within a slice. Of GPUs an axis takes those of a node first.
    """
    sizes = dict(mesh_shape)
    sizes["replica"] = max(1, sizes.get("replica", 1) // topology.num_slices)
    several = {axis: sizes[axis] for axis in _FASTEST_FIRST if sizes.get(axis, 1) > 1}
    if topology.chip.platform == "gpu":
        return _among_gpus(topology, several)
    taken = [_Taken(row) for row in rows(topology)]
    return {axis: _lay(size, taken) for axis, size in several.items()}


def _among_gpus(topology: Topology, sizes: Mapping[str, int]) -> dict[str, float]:
    free = topology.shape[-1]
    bandwidths = {}
    for axis, size in sizes.items():
        in_a_node = gcd(size, free)
        free //= in_a_node
        bandwidths[axis] = among_gpus(topology.chip, in_a_node, across_nodes=size > in_a_node)
    return bandwidths


def _lay(size: int, taken: list[_Taken]) -> float:
    """Take places for an axis and return the bytes a second that it gets."""
    if whole := _whole_rows(size, taken):
        return together(each.take(each.row.size) for each in whole)
    parts = []
    for each in sorted(taken, key=lambda each: -each.free):
        part = gcd(size, each.free)
        if part > 1:
            parts.append(each.take(part))
            size //= part
    return together(parts)


def _whole_rows(size: int, taken: list[_Taken]) -> tuple[_Taken, ...]:
    untouched = [each for each in taken if each.stride == 1 and each.row.size > 1]
    for count in range(len(untouched), 0, -1):
        for chosen in combinations(untouched, count):
            if prod(each.row.size for each in chosen) == size:
                return chosen
    return ()

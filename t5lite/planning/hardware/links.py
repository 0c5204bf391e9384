"""The one model of links: what a group of devices exchanges a second, and what is busy meanwhile.

The devices of a TPU slice lie in rows: along each dimension of its torus, and on one chip. GPUs are joined by
a switch in their node, and by an adapter each to other nodes. All figures are bounds: what links carry that
are busy all the time.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.planning.hardware.chips import Chip
from t5lite.planning.hardware.topology import Topology

Coordinates = Sequence[int]
"""Where a device is (``topology.coordinates``)."""
NETWORK = "network"
"""Between slices or nodes."""
_LINE = 0.5
"""Share of a ring's bandwidth that is left without the link from the last device to the first."""


class Route(NamedTuple):
    """What the data of a group takes."""

    bandwidth: float
    """Bytes a second that each device of the group can send to the others."""
    resources: tuple[str, ...]
    """What is busy meanwhile: ``links on chip``, ``links x``, ``links y``, ``links z`` of a torus, ``links``
    of a node, or ``network``."""


@dataclass(frozen=True)
class Row:
    """Devices in a row: one dimension of a torus, or those of one chip."""

    resource: str
    """What it is called as a ``Route``'s resource."""
    size: int
    bandwidth: float
    """Bytes a second of a device along the whole of it, sent both ways."""
    wraps: bool
    """Whether the last is connected with the first."""

    def carries(self, count: int, stride: int = 1) -> float:
        """Return the bytes a second that each of ``count`` devices, ``stride`` places apart, can send.

        In a ring a device sends both ways; along a line that does not wrap around half as much gets through.
        Devices ``n`` places apart share the links between them with ``n - 1`` other groups.
        """
        is_ring = self.wraps and count * stride == self.size
        return self.bandwidth / stride * (1.0 if is_ring else _LINE)


def rows(topology: Topology) -> tuple[Row, ...]:
    """Return the rows of a TPU slice: the devices of a chip, then the dimensions of its torus."""
    chip = topology.chip
    # Devices of one chip exchange data on the chip, no slower than by all links.
    on_chip = Row("links on chip", chip.devices_per_chip, chip.link_bandwidth, wraps=True)
    torus = zip("xyz", topology.shape, topology.wraps, strict=False)
    along = chip.link_bandwidth / chip.torus_dims
    return (on_chip, *(Row(f"links {name}", size, along, wraps) for name, size, wraps in torus))


def route(topology: Topology, group: Sequence[Coordinates]) -> Route:
    """Return how a group of devices within one slice, or of GPUs anywhere, exchanges data."""
    if topology.chip.platform == "gpu":
        nodes = {node for _, node, *_ in group}
        bandwidth = among_gpus(topology.chip, len(group) // len(nodes), across_nodes=len(nodes) > 1)
        return Route(bandwidth, (NETWORK if len(nodes) > 1 else "links",))
    spans = zip(rows(topology), _spans(topology, group), strict=True)
    spanned = [(row, *span) for row, span in spans if span[0] > 1]
    bandwidth = together((count, row.carries(count, stride)) for row, count, stride in spanned)
    return Route(bandwidth, tuple(row.resource for row, *_ in spanned))


def together(rows: Iterable[tuple[int, float]]) -> float:
    """Return the bytes a second of a group that spans several rows.

    All carry a part at once. But what a device gets from the others it may get along fast rows only after
    slower ones brought it there: those of n places bring at least n - 1 of the N - 1 others' parts.

    Args:
      rows: places that the group takes of each, two or more, and the bytes a second along it.
    """
    slowest_first = sorted(rows, key=lambda row: row[1])
    others = math.prod(count for count, _ in slowest_first) - 1
    places, bandwidth, bounds = 1, 0.0, []
    for count, along in slowest_first:
        places, bandwidth = places * count, bandwidth + along
        bounds.append(others / (places - 1) * bandwidth)
    return min(bounds)


def between_slices(topology: Topology) -> Route:
    """Return how a device of a TPU slice exchanges data with its like in other slices."""
    return Route(topology.chip.network_bandwidth, (NETWORK,))


def among_gpus(chip: Chip, in_a_node: int, *, across_nodes: bool) -> float:
    """Return the bytes a second of each GPU of a group, of which so many are in one node.

    Within a node a switch connects all; between nodes, each GPU sends its part by its own adapter.
    """
    return (
        min(chip.link_bandwidth, in_a_node * chip.network_bandwidth) if across_nodes else chip.link_bandwidth
    )


def ring_share(size: int) -> float:
    """Return how much of an array each of ``size`` devices in a ring sends to gather or to scatter it."""
    return 1 - 1 / size


def goes_back(topology: Topology, source: Coordinates, target: Coordinates) -> bool:
    """Return whether what one device sends another goes down its dimension of a torus; False without one."""
    if topology.chip.platform == "gpu":
        return False
    ways = zip(source[1:], target[1:], topology.shape, strict=False)
    return next(
        (2 * ((after - before) % size) > size for before, after, size in ways if before != after), False
    )


def _spans(topology: Topology, group: Sequence[Coordinates]) -> list[tuple[int, int]]:
    """Return how many places of each row a group takes, and how far apart they are."""
    slices, *torus = list(zip(*group, strict=True))[: 1 + topology.chip.torus_dims]
    chips = set(zip(slices, *torus, strict=True))
    spans = [(len(group) // len(chips), 1)]
    for along, size, wraps in zip(torus, topology.shape, topology.wraps, strict=True):
        places = sorted(set(along))
        gaps = [after - before for before, after in itertools.pairwise(places)]
        if wraps:
            gaps.append(places[0] + size - places[-1])
        spans.append((len(places), min(gaps, default=size)))
    return spans

"""How long the collectives of a compiled step take on the links of its topology, and which they keep busy."""

from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.hardware.links import Route, between_slices, goes_back, route
from t5lite.planning.hardware.topology import Topology


@dataclass(frozen=True)
class Network:
    """The links of a topology, and the devices of a mesh on them."""

    topology: Topology
    places: Sequence[Sequence[int]]
    """Slice and place in the torus of every device, in the mesh's order."""

    def route(self, collective: Collective) -> Route:
        """Return what the data of a collective takes."""
        if not collective.group:
            return between_slices(self.topology)
        return route(self.topology, [self.places[number] for number in collective.group])

    def goes_back(self, collective: Collective) -> bool:
        """Return whether it is a permute that goes down its dimension of the torus."""
        if collective.kind != PERMUTE or len(collective.group) != 2:
            return False
        return goes_back(self.topology, *(self.places[number] for number in collective.group))

    def run_seconds(self, collective: Collective) -> float:
        """Return how long one run of a collective takes, if nothing else uses its links."""
        return collective.sent_bytes / self.route(collective).bandwidth

    def seconds(self, collective: Collective) -> float:
        """Return how long its runs in one step take, if nothing else uses its links."""
        return collective.runs * self.run_seconds(collective)

    def exchange_seconds(self, collectives: Sequence[Collective]) -> float:
        """Return how long collectives take one after another, if nothing else uses their links.

        Permutes one way and the other go on at once, as each uses one direction of the links: a TPU's
        compiler writes a gather or scatter that goes on beside its product as such pairs.
        """
        there, back, others = 0.0, 0.0, 0.0
        for each in collectives:
            seconds = self.seconds(each)
            if each.kind != PERMUTE:
                others += seconds
            elif self.goes_back(each):
                back += seconds
            else:
                there += seconds
        return others + max(there, back)


PERMUTE = "collective-permute"

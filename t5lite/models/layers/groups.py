"""Which layers of a stack share an array, and how a loop over cycles of layers runs through such arrays.

What every layer has (parameters, a cache) is stacked along an axis in front: one array for the layers of the
first ones that are alike in it, one for those of all whole cycles, one for those of the last cycle if it is
cut short. A stack of like layers is one array, and the loop over it a loop over layers.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from t5lite.core.types import Tree
from t5lite.models.config import LayerSpec, StackSpec

_FIRST, _CYCLES, _LAST = "first_layers", "layers", "last_layers"


class Place(NamedTuple):
    """Where a layer's part of a group is."""

    group: str
    number: int
    """Among the group's layers of one cycle; of the first and the last layers, among all."""


@dataclass(frozen=True)
class LayerGroups:
    """The groups of a stack's layers, by what ``key`` says of each."""

    first: tuple[Place, ...]
    cycle: tuple[Place, ...]
    last: tuple[Place, ...]
    num_cycles: int
    layers: dict[str, tuple[int, ...]]
    """The layers of every group, in order."""

    @classmethod
    def of(cls, stack: StackSpec, key: Callable[[LayerSpec], Hashable]) -> "LayerGroups":
        """Return the groups of layers whose keys are equal."""
        start, num_cycles = len(stack.first), stack.num_cycles
        cycle = len(stack.cycle) if num_cycles else 0
        end = start + num_cycles * cycle
        layers: dict[str, tuple[int, ...]] = {}

        def places(numbers: range, name: str) -> tuple[Place, ...]:
            names: dict[Hashable, str] = {}
            result = []
            for number in numbers:
                group = names.setdefault(key(stack.layers[number]), f"{name}_{len(names)}" if names else name)
                result.append(Place(group, len(layers.get(group, ()))))
                layers[group] = (*layers.get(group, ()), number)
            return tuple(result)

        first = places(range(min(start, stack.num_layers)), _FIRST)
        turn = places(range(start, start + cycle), _CYCLES)
        for name in {place.group for place in turn}:
            once = layers[name]
            layers[name] = tuple(number + k * cycle for k in range(num_cycles) for number in once)
        last = places(range(end, stack.num_layers), _LAST)
        return cls(first, turn, last, num_cycles, layers)

    def by_group(self, stacked: Tree | None) -> "dict[str, Tree]":
        """Return what is stacked over all layers by group; None for every group if it is None."""
        if stacked is None or len(self.layers) == 1:
            return dict.fromkeys(self.layers, stacked)
        return {group: _at(stacked, jax.numpy.asarray(own)) for group, own in self.layers.items()}

    def per_cycle(self, group: str) -> int:
        """Return how many layers of a group there are in a cycle."""
        return sum(place.group == group for place in self.cycle)

    def in_loop(self, stacked: Mapping[str, Tree]) -> dict[str, Tree]:
        """Return the groups of the cycles: a cycle along axis 0, of several layers these along 1."""
        return {
            group: self._by_cycle(stacked[group], self.per_cycle(group))
            for group in dict.fromkeys(place.group for place in self.cycle)
        }

    def of_cycle(self, turn: dict[str, Tree], number: int) -> Tree:
        """Return the part of a layer of the cycle, from one entry of ``in_loop``."""
        place = self.cycle[number]
        tree = turn[place.group]
        return tree if self.per_cycle(place.group) == 1 else _at(tree, place.number)

    def outside(self, stacked: Mapping[str, Tree], places: Sequence[Place]) -> list[Tree]:
        """Return the parts of the first or the last layers."""
        return [_at(stacked[place.group], place.number) for place in places]

    def stack(self, first: Sequence[Tree], cycle: Sequence[Tree], last: Sequence[Tree]) -> dict[str, Tree]:
        """Return the groups of what the layers gave: the inverse of the three before.

        Args:
          first: of each of the first layers.
          cycle: of each layer of the cycle, a cycle along axis 0.
          last: of each of the last layers.
        """
        stacked: dict[str, Tree] = {}
        for places, trees in ((self.first, first), (self.last, last)):
            for group in dict.fromkeys(place.group for place in places):
                own = [tree for place, tree in zip(places, trees, strict=True) if place.group == group]
                stacked[group] = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *own)
        for group in dict.fromkeys(place.group for place in self.cycle):
            own = [tree for place, tree in zip(self.cycle, cycle, strict=True) if place.group == group]
            stacked[group] = own[0] if len(own) == 1 else jax.tree.map(_interleaved, *own)
        return stacked

    def _by_cycle(self, tree: Tree, per_cycle: int) -> Tree:
        if per_cycle == 1:
            return tree
        return jax.tree.map(lambda leaf: leaf.reshape(self.num_cycles, per_cycle, *leaf.shape[1:]), tree)


def structure_groups(stack: StackSpec) -> LayerGroups:
    """Return the layers that share arrays of parameters."""
    return LayerGroups.of(stack, lambda layer: layer.structure)


def _at(tree: Tree, index: int | jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _interleaved(*leaves: jax.Array) -> jax.Array:
    """Return ``[cycles * n, ...]`` of n arrays ``[cycles, ...]``."""
    return jax.numpy.stack(leaves, axis=1).reshape(-1, *leaves[0].shape[1:])

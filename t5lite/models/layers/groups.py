"""Which layers of a stack share an array, and how a loop over cycles of layers runs through such arrays.

What every layer has (parameters, a cache) is stacked along an axis in front, in one array for all layers that
are alike in it. The loop runs through the part of it that belongs to whole cycles; of a stack of like layers
that is all of it, and the loop one over layers.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.types import Tree
from t5lite.models.config import LayerSpec, StackSpec

_FIRST, _OTHERS = "first_layers", "layers"


class Place(NamedTuple):
    """Where a layer's part of a group is."""

    group: str
    number: int
    """Among the group's layers of one cycle; of the first and the last layers, among all of the group."""


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
        names: dict[Hashable, str] = {}
        for base, kinds in ((_OTHERS, stack.cycle), (_FIRST, stack.first)):
            new = dict.fromkeys(key(layer) for layer in kinds if key(layer) not in names)
            names |= {each: f"{base}_{number}" if number else base for number, each in enumerate(new)}
        groups = [names[key(layer)] for layer in stack.layers]
        layers: dict[str, tuple[int, ...]] = {group: () for group in names.values() if group in groups}
        for number, group in enumerate(groups):
            layers[group] += (number,)
        start = min(len(stack.first), stack.num_layers)
        cycle = len(stack.cycle) if stack.num_cycles else 0
        end = start + stack.num_cycles * cycle

        def places(numbers: range, first: int = 0) -> tuple[Place, ...]:
            return tuple(Place(groups[each], groups[first:each].count(groups[each])) for each in numbers)

        turn = places(range(start, start + cycle), start)
        return cls(places(range(start)), turn, places(range(end, stack.num_layers)), stack.num_cycles, layers)

    def by_group(self, stacked: Tree | None) -> "dict[str, Tree]":
        """Return what is stacked over all layers by group; None for every group if it is None."""
        if stacked is None or len(self.layers) == 1:
            return dict.fromkeys(self.layers, stacked)
        return {group: _at(stacked, jnp.asarray(own)) for group, own in self.layers.items()}

    def stacked(self, by_layer: Sequence[Tree]) -> dict[str, Tree]:
        """Return what each layer has by group."""
        return {
            group: jax.tree.map(lambda *leaves: jnp.stack(leaves), *(by_layer[number] for number in own))
            for group, own in self.layers.items()
        }

    def apart(self, stacked: Mapping[str, Tree]) -> list[Tree]:
        """Return what each layer has of ``stacked``."""
        places = {
            number: (group, place) for group, own in self.layers.items() for place, number in enumerate(own)
        }
        return [_at(stacked[group], place) for _, (group, place) in sorted(places.items())]

    def per_cycle(self, group: str) -> int:
        """Return how many layers of a group there are in a cycle."""
        return sum(place.group == group for place in self.cycle)

    def in_loop(self, stacked: Mapping[str, Tree]) -> dict[str, Tree]:
        """Return what of the groups is in cycles: a cycle along axis 0, of several layers these along 1."""
        return {
            group: jax.tree.map(partial(self._by_cycle, group), stacked[group])
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

    def _by_cycle(self, group: str, leaf: jax.Array) -> jax.Array:
        start, per_cycle = sum(place.group == group for place in self.first), self.per_cycle(group)
        size = self.num_cycles * per_cycle
        if size < len(self.layers[group]):
            leaf = leaf[start : start + size]
        return leaf if per_cycle == 1 else leaf.reshape(self.num_cycles, per_cycle, *leaf.shape[1:])


def structure_groups(stack: StackSpec) -> LayerGroups:
    """Return the layers that share arrays of parameters."""
    return LayerGroups.of(stack, lambda layer: layer.structure)


def _at(tree: Tree, index: int | jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)

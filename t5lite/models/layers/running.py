"""Running a stack's layers: a loop over cycles of layers, by ``lax.scan``, between the first and the last.

Compile time does not grow with depth. ``scan_unroll=-1`` is the same code unrolled.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from t5lite.core.types import Tree
from t5lite.models.config import Execution, LayerSpec, StackSpec
from t5lite.models.layers.gathered_kernels import named_kernels
from t5lite.models.layers.groups import LayerGroups, structure_groups
from t5lite.models.layers.layer import Layer
from t5lite.models.layers.remat import remat_policy
from t5lite.partitioning.rules import on_one_device

Body = Callable[..., tuple[Any, Any]]
"""``carry, y = body(spec, layer, carry, *xs)``: one layer's step. What it closes over is the same for all."""


class Grouped(NamedTuple):
    """What every layer has a part of, by group (``LayerGroups``)."""

    groups: LayerGroups
    arrays: Mapping[str, Tree]


class LayerRun(NamedTuple):
    """What a run through the layers gives."""

    carry: Any
    first: list[Any]
    """The ``y`` of each first layer."""
    cycle: tuple[Any, ...]
    """Of each layer of the cycle, a cycle along axis 0."""
    last: list[Any]

    def by_layer(self) -> list[Any]:
        """Return the ``y`` of every layer."""
        turns = len(jax.tree.leaves(self.cycle)[0]) if self.cycle else 0
        looped = [
            jax.tree.map(lambda leaf, turn=turn: leaf[turn], y) for turn in range(turns) for y in self.cycle
        ]
        return [*self.first, *looped, *self.last]


def run_layers(
    body: Body, stack: StackSpec, layers: Mapping[str, Layer], carry: Any, *xs: Grouped, execution: Execution
) -> LayerRun:
    """Thread ``carry`` through every layer.

    Args:
      body: one layer's step.
      stack: what the layers are.
      layers: by group of like structure, one layer whose parameters are stacked along axis 0.
      carry: what goes through the stack.
      xs: what else each layer is handed.
      execution: for ``remat`` and ``scan_unroll``.
    """
    graphdefs, states = {}, {}
    for group, layer in layers.items():
        graphdefs[group], states[group] = nnx.split(layer)
    structures = structure_groups(stack)
    grouped = (Grouped(structures, states), *xs)

    def layer_step(spec: LayerSpec, group: str, *, in_loop: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
        def step(carry: Any, parts: Any) -> tuple[Any, Any]:
            state, *own = parts
            if not on_one_device():
                state = jax.lax.optimization_barrier(state)
            state = named_kernels(state, execution, apart=stack.memory is not None)
            return body(spec, nnx.merge(graphdefs[group], state), carry, *own)

        policy = remat_policy(execution)
        if policy is None:
            return step
        # Inside a loop nothing can be shared between forward and backward pass; unrolled layers need the
        # barrier, or XLA finds the recomputation to be the same as the forward pass and keeps that.
        return jax.checkpoint(step, policy=policy, prevent_cse=not in_loop)

    def outside(carry: Any, places: str, start: int) -> tuple[Any, list[Any]]:
        own = getattr(structures, places)
        parts = [each.groups.outside(each.arrays, getattr(each.groups, places)) for each in grouped]
        ys = []
        for number, place in enumerate(own):
            step = layer_step(stack.layers[start + number], place.group, in_loop=False)
            carry, y = step(carry, [part[number] for part in parts])
            ys.append(y)
        return carry, ys

    in_loop = execution.scan_unroll == 1
    steps = [
        layer_step(stack.layers[len(stack.first) + number], place.group, in_loop=in_loop)
        for number, place in enumerate(structures.cycle)
    ]

    def turn(carry: Any, parts: list[dict[str, Tree]]) -> tuple[Any, tuple[Any, ...]]:
        ys = []
        for number, step in enumerate(steps):
            own = [each.groups.of_cycle(part, number) for each, part in zip(grouped, parts, strict=True)]
            carry, y = step(carry, own)
            ys.append(y)
        return carry, tuple(ys)

    carry, first = outside(carry, "first", 0)
    cycle: tuple[Any, ...] = ()
    if steps:
        looped = [each.groups.in_loop(each.arrays) for each in grouped]
        unroll = execution.scan_unroll if execution.loops_over_layers else True
        carry, cycle = jax.lax.scan(turn, carry, looped, length=structures.num_cycles, unroll=unroll)
    carry, last = outside(carry, "last", stack.num_layers - len(structures.last))
    return LayerRun(carry, first, cycle, last)


def layers_apart(stack: StackSpec, layers: Mapping[str, Layer]) -> list[Layer]:
    """Return the layers of a stack one by one, in order, each with parameters of its own.

    Args:
      stack: what the layers are.
      layers: as of ``run_layers``.
    """
    apart: dict[int, Layer] = {}
    for group, numbers in structure_groups(stack).layers.items():
        graphdef, state = nnx.split(layers[group])
        for place, number in enumerate(numbers):
            apart[number] = nnx.merge(graphdef, jax.tree.map(lambda leaf, place=place: leaf[place], state))
    return [apart[number] for number in range(stack.num_layers)]

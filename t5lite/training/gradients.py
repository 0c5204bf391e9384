"""Which gradients a train step takes, of a model that may be frozen in part.

A step takes the gradient of a kernel that is trained, and that of the input of a product where anything is
trained that the input is made with.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax

from t5lite.core.batch_fields import Side
from t5lite.models.config import StackSpec
from t5lite.models.config.parts import PROJECTION_IN, TOKEN_TABLE
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.optim.trained import parameter_paths
from t5lite.partitioning.rules import is_logical_axes

_LOOKED_UP = {"positions", "relpos_buckets"}
"""Axes of tables in a stack, which are in no product."""


class StackGradients(NamedTuple):
    """Which gradients of a stack's activations a step takes."""

    through: bool
    """Those of its layers."""
    output: bool
    """That of its output."""


class Kernel(NamedTuple):
    """A kernel that is in products."""

    path: str
    num_elements: int
    side: Side | None
    """Whose tokens it is multiplied with; None: one of a row."""
    input_gradient: bool
    """Whether a step takes the gradient of what it is multiplied with."""


@dataclass(frozen=True, kw_only=True)
class StepGradients:
    """The gradients that a step takes."""

    trained: frozenset[str]
    """Paths of the parameters."""
    stacks: Mapping[Side, StackGradients]
    kernels: tuple[Kernel, ...]

    def reads_again(self, path: str) -> bool:
        """Whether a step's backward pass reads a parameter, as its forward pass did."""
        products = [kernel.input_gradient for kernel in self.kernels if kernel.path == path]
        stacks = [stack.through for side, stack in self.stacks.items() if _in(path, side)]
        return any(products or stacks or [True])

    def trained_share(self, side: Side) -> float:
        """Return the trained part of the kernels in a stack, by numbers."""
        sizes = {kernel.path: kernel.num_elements for kernel in self.kernels if _in(kernel.path, side)}
        return sum(size for path, size in sizes.items() if path in self.trained) / sum(sizes.values())


def memory_kernels(stack: StackSpec) -> tuple[str, ...]:
    """Return how paths of kernels end that are multiplied with what a stack attends to besides its own input.

    Those of merged attention are multiplied with both.
    """
    attention = "self_attention" if stack.merged else "cross_attention"
    return () if stack.memory is None else (f"{attention}/key", f"{attention}/value")


def step_gradients(model: FunctionalModel, optimizer: Optimizer) -> StepGradients:
    """Return the gradients that a step takes with an optimizer: those that it needs, and no others."""
    trained = frozenset(parameter_paths(optimizer.trained(model.abstract_params)))
    stacks = _of_stacks(model, trained)
    kernels = (*_layer_kernels(model, stacks), *_other_kernels(model, stacks, trained))
    return StepGradients(trained=trained, stacks=stacks, kernels=kernels)


def _of_stacks(model: FunctionalModel, trained: Collection[str]) -> dict[Side, StackGradients]:
    """Return the gradients of every stack, from the bottom: of what is made with anything that is trained."""
    gradients: dict[Side, StackGradients] = {}
    for stack in model.config.stacks:
        last = f"{stack.side}/final_norm"
        inside = {path for path in trained if not _in(path, last)}
        below = stack.memory is not None and gradients[stack.memory].output
        through = below or _any_in(inside, (*model.config.input_parameters(stack.side), stack.side))
        gradients[stack.side] = StackGradients(through, through or _any_in(trained, (last,)))
    return gradients


def _layer_kernels(model: FunctionalModel, gradients: Mapping[Side, StackGradients]) -> Iterator[Kernel]:
    """Yield those of the stacks."""
    all_axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    for (path, num_elements), axes in zip(_sizes(model).items(), all_axes, strict=True):
        if len({*axes} - {"layers"}) < 2 or _LOOKED_UP & {*axes}:
            continue
        for stack in model.config.stacks:
            if not _in(path, stack.side):
                continue
            reads_memory = path.endswith(memory_kernels(stack))
            if stack.memory is not None and reads_memory:
                yield Kernel(path, num_elements, stack.memory, gradients[stack.memory].output)
            if stack.merged or not reads_memory:
                yield Kernel(path, num_elements, stack.side, gradients[stack.side].through)


def _other_kernels(
    model: FunctionalModel, gradients: Mapping[Side, StackGradients], trained: Collection[str]
) -> Iterator[Kernel]:
    """Yield those below the stacks, which project a narrow table's rows, and those of the head."""
    config, sizes = model.config, _sizes(model)
    for side in config.sides:
        if PROJECTION_IN in config.input_parameters(side):
            yield Kernel(PROJECTION_IN, sizes[PROJECTION_IN], side, TOKEN_TABLE in trained)
    last = config.sides[-1]
    for path, after, every_token in config.head_kernels:
        input_gradient = gradients[last].output or _any_in(trained, after)
        yield Kernel(path, sizes[path], last if every_token else None, input_gradient)


def _sizes(model: FunctionalModel) -> dict[str, int]:
    leaves = jax.tree.leaves(model.abstract_params)
    return dict(
        zip(parameter_paths(model.abstract_params), [math.prod(leaf.shape) for leaf in leaves], strict=True)
    )


def _in(path: str, group: str) -> bool:
    return path == group or path.startswith(f"{group}/")


def _any_in(paths: Collection[str], groups: Collection[str]) -> bool:
    return any(_in(path, group) for path in paths for group in groups)

"""Floating-point operations of a train step, of a model that may be frozen in part.

Of a product with a kernel a step has three parts: forward, the gradient of the input and that of the kernel.
A frozen kernel has not the third. Where nothing is trained that its input is made with, there is no second.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import jax

from t5lite.core.batch_fields import Side
from t5lite.models.config.parts import PROJECTION_IN, TOKEN_TABLE
from t5lite.models.flops import cross_logits_flops, stack_flops, stack_lengths, train_step_flops
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.optim.trained import parameter_paths
from t5lite.partitioning.rules import is_logical_axes

_LOOKED_UP = {"positions", "relpos_buckets"}
"""Axes of tables in a stack, which are in no product."""
_OF_MEMORY = ("cross_attention/key", "cross_attention/value")
"""Kernels that are multiplied with what a stack attends to."""


def step_flops(
    model: FunctionalModel,
    optimizer: Optimizer,
    *,
    batch_size: int,
    encoder_length: int = 0,
    decoder_length: int = 0,
) -> float:
    """Return the FLOPs of a train step that takes the gradients that the optimizer needs, and no others.

    Where everything is trained it is ``models.flops.train_step_flops``, as what ``remat`` makes again, which
    does not count either.
    """
    lengths = {"encoder_length": encoder_length, "decoder_length": decoder_length}
    trained = set(parameter_paths(optimizer.trained(model.abstract_params)))
    gradients = _stack_gradients(model, trained)
    flops = train_step_flops(model.config, batch_size=batch_size, **lengths)
    for kernel in (*_layer_kernels(model, gradients), *_other_kernels(model, gradients, trained)):
        vectors = batch_size * (1 if kernel.side is None else lengths[f"{kernel.side}_length"])
        left_out = (kernel.path not in trained) + (not kernel.input_gradient)
        flops -= left_out * 2 * kernel.num_elements * vectors
    for each in stack_lengths(model.config, encoder_length, decoder_length):
        if not gradients[each.stack.side].through:
            layers = stack_flops(each)
            flops -= batch_size * 2 * (layers.logits + layers.context)
        elif each.stack.memory is not None and not gradients[each.stack.memory].output:
            # Of what nobody trains no gradient is taken: of the keys, or of the values.
            frozen = sum(not any(part in path for path in trained) for part in _OF_MEMORY)
            flops -= batch_size * frozen * cross_logits_flops(each)
    return flops


class _Gradients(NamedTuple):
    """Which gradients of a stack's activations a step takes."""

    through: bool
    """Those of its layers."""
    output: bool
    """That of its output."""


class _Kernel(NamedTuple):
    """A kernel that is in products."""

    path: str
    num_elements: int
    side: Side | None
    """Whose tokens it is multiplied with; None: one of a row."""
    input_gradient: bool
    """Whether a step takes the gradient of what it is multiplied with."""


def _stack_gradients(model: FunctionalModel, trained: Collection[str]) -> dict[Side, _Gradients]:
    """Return the gradients of every stack, from the bottom: of what is made with anything that is trained."""
    gradients: dict[Side, _Gradients] = {}
    for stack in model.config.stacks:
        last = f"{stack.side}/final_norm"
        inside = {path for path in trained if not _in(path, last)}
        below = stack.memory is not None and gradients[stack.memory].output
        through = below or _any_in(inside, (*model.config.input_parameters(stack.side), stack.side))
        gradients[stack.side] = _Gradients(through, through or _any_in(trained, (last,)))
    return gradients


def _layer_kernels(model: FunctionalModel, gradients: Mapping[Side, _Gradients]) -> Iterator[_Kernel]:
    """Yield those of the stacks."""
    all_axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    for (path, num_elements), axes in zip(_sizes(model).items(), all_axes, strict=True):
        if len({*axes} - {"layers"}) < 2 or _LOOKED_UP & {*axes}:
            continue
        for stack in model.config.stacks:
            if not _in(path, stack.side):
                continue
            if stack.memory is not None and path.endswith(_OF_MEMORY):
                yield _Kernel(path, num_elements, stack.memory, gradients[stack.memory].output)
            else:
                yield _Kernel(path, num_elements, stack.side, gradients[stack.side].through)


def _other_kernels(
    model: FunctionalModel, gradients: Mapping[Side, _Gradients], trained: Collection[str]
) -> Iterator[_Kernel]:
    """Yield those below the stacks, which project a narrow table's rows, and those of the head."""
    config, sizes = model.config, _sizes(model)
    for side in config.sides:
        if PROJECTION_IN in config.input_parameters(side):
            yield _Kernel(PROJECTION_IN, sizes[PROJECTION_IN], side, TOKEN_TABLE in trained)
    last = config.sides[-1]
    for path, after, every_token in config.head_kernels:
        input_gradient = gradients[last].output or _any_in(trained, after)
        yield _Kernel(path, sizes[path], last if every_token else None, input_gradient)


def _sizes(model: FunctionalModel) -> dict[str, int]:
    leaves = jax.tree.leaves(model.abstract_params)
    return dict(
        zip(parameter_paths(model.abstract_params), [math.prod(leaf.shape) for leaf in leaves], strict=True)
    )


def _in(path: str, group: str) -> bool:
    return path == group or path.startswith(f"{group}/")


def _any_in(paths: Collection[str], groups: Collection[str]) -> bool:
    return any(_in(path, group) for path in paths for group in groups)

"""Floating-point operations of a train step, of a model that may be frozen in part.

Of a product with a kernel a step has three parts: forward, the gradient of the input and that of the kernel.
A frozen kernel has not the third. A stack beneath which nothing is trained has the first alone.
"""

import math
from collections.abc import Iterator

import jax

from t5lite.models.flops import layer_flops, train_step_flops
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.optim.trained import parameter_paths
from t5lite.partitioning.rules import is_logical_axes

_INPUTS = {"token_embedder", "token_types"}
"""What makes the input of every stack."""
_TABLE = "token_embedder/embedding"
_TOKEN_HEADS = ("logits", "masked_lm")
"""Heads that read every position; others read one of a row, or are small."""
_LOOKED_UP = {"positions", "token_types", "relpos_buckets"}
"""Axes of tables, which are in no product."""


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
    flops = train_step_flops(model.config, batch_size=batch_size, **lengths)
    trained = set(parameter_paths(optimizer.trained(model.abstract_params)))
    forward_only = sides_without_backward_pass(model, trained)
    tokens = {"encoder": batch_size * encoder_length, "decoder": batch_size * decoder_length}
    for path, num_elements, side in _kernels(model):
        own, _, rest = path.partition("/")
        left_out = (path not in trained) + (own in forward_only)
        if side != own and side in forward_only and "cross_attention" in rest:
            left_out += 1  # the gradient of what the encoder gave
        flops -= left_out * 2 * num_elements * tokens[side]
    for side in forward_only:
        alone = {name: length * name.startswith(side) for name, length in lengths.items()}
        layers = layer_flops(model.config, batch_size=batch_size, **alone)
        flops -= 2 * (layers.logits + layers.context)
    return flops


def sides_without_backward_pass(model: FunctionalModel, trained: set[str]) -> list[str]:
    """Return the stacks, from the bottom, through which no gradient passes, by their side.

    Args:
      model: whose stacks lie one upon the other.
      trained: paths of its parameters.
    """
    groups = {path.partition("/")[0] for path in trained}
    sides: list[str] = []
    for stack in model.config.stacks:
        if groups & (_INPUTS | {stack.side}):
            break
        sides.append(stack.side)
    return sides


def _kernels(model: FunctionalModel) -> Iterator[tuple[str, int, str]]:
    """Yield path, number of elements and side of the tokens of every kernel that is in products."""
    leaves = jax.tree.leaves(model.abstract_params)
    all_axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    last = model.config.stacks[-1].side
    for path, leaf, axes in zip(parameter_paths(model.abstract_params), leaves, all_axes, strict=True):
        group = path.partition("/")[0]
        if len({*axes} - {"layers"}) < 2 or _LOOKED_UP & {*axes}:
            continue
        if group in ("encoder", "decoder"):
            of_memory = path.endswith(("cross_attention/key", "cross_attention/value"))
            yield path, math.prod(leaf.shape), "encoder" if of_memory else group
        elif group in _TOKEN_HEADS or (path == _TABLE and model.config.tie_embeddings):
            yield path, math.prod(leaf.shape), last

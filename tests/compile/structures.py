"""The structures that the presets' programs have: each as a model of few layers that compiles in seconds.

What happens to a gradient follows from its parameter's axes and from the product that makes it: from the
architecture, the pattern of layers, heads that are shared or not, tied and narrow tables, kinds of positions
and of MLPs. All of that shows in the tree of kernels and their axes, whatever an architecture of tomorrow is
called; norms and biases are vectors, which every device has whole.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import jax

from t5lite.models.config import ModelConfig, StackSizes
from t5lite.models.functional import FunctionalModel
from t5lite.models.presets import PRESETS, preset
from t5lite.partitioning import Partitioner, PartitioningConfig
from t5lite.partitioning.rules import is_logical_axes
from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.compile import BatchShape, CompiledStep
from t5lite.planning.compiled.hlo import Instruction, Module

TOPOLOGY = "v5e:4x4"
"""A square: on a v5e:2x4 the compiler scatters without being asked."""
MESHES = {
    "fsdp": PartitioningConfig(style="fsdp"),
    "replica x fsdp": PartitioningConfig(style="fsdp", replica=2, fsdp=8),
    "fsdp x tensor": PartitioningConfig(style="tensor_parallel", fsdp=8, tensor=2),
    "sequence-sharded": PartitioningConfig(style="sequence_parallel", fsdp=8, tensor=2),
    "fsdp x sequence": PartitioningConfig(style="sequence_parallel", fsdp=8, sequence=2),
}
LENGTH = 128
BATCHES = {
    architecture: BatchShape(batch_size=16, encoder_length=encoder, decoder_length=decoder)
    for architecture, encoder, decoder in (
        ("encoder_only", LENGTH, 0),
        ("decoder_only", 0, LENGTH),
        ("encoder_decoder", LENGTH, LENGTH),
    )
}
WIDTHS: dict[str, Any] = {"embed_dim": 512, "mlp_dim": 1024, "head_dim": 64, "num_heads": 8}
"""Every kernel is larger than all vectors together, and the compiler does what it does with large ones."""
KV_HEADS, TABLE_DIM = 4, 256
VOCAB_SIZE = 4096
DIVIDES = 16
"""What does not divide a vocabulary does not divide the small one: 50,257 rows are 4,097."""
_KIB = 1024

Structure: TypeAlias = tuple[Any, ...]


def few_layers(name: str) -> ModelConfig:
    """Return a preset of two turns of its pattern of layers, at its own widths and vocabulary."""
    config = preset(name)
    turns = {stack.side: len(stack.first) + 2 * len(stack.cycle) for stack in config.stacks}
    layers = {f"num_{side}_layers" if len(turns) > 1 else "num_layers": turns[side] for side in turns}
    return replace(config, **layers, max_length=LENGTH)


def small(name: str) -> ModelConfig:
    """Return the same with narrow layers; what follows from a width changes with it."""
    config = few_layers(name)
    changes = dict(WIDTHS, vocab_size=VOCAB_SIZE + config.vocab_size % DIVIDES)
    if config.num_kv_heads not in (None, 1):
        changes["num_kv_heads"] = KV_HEADS if config.num_kv_heads < config.num_heads else None
    if config.table_dim is not None:
        changes["table_dim"] = TABLE_DIM
    if getattr(config, "encoder_sizes", None) is not None:
        changes["encoder_sizes"] = StackSizes(**WIDTHS, num_kv_heads=KV_HEADS)
    return replace(config, **changes)


def distinct() -> list[str]:
    """Return the first preset of each model that is another one when it is small."""
    first: dict[ModelConfig, str] = {}
    for name in PRESETS:
        first.setdefault(small(name), name)
    return list(first.values())


def structure(model: FunctionalModel, partitioner: Partitioner) -> Structure:
    """Return what two programs have in common that treat gradients alike: kernels, and how they are kept."""
    return (
        model.config.architecture,
        *(
            (path, axes, partitioner.stored_spec(axes, leaf.shape) == partitioner.spec(axes))
            for path, axes, leaf in _parameters(model)
            if sum(axis not in (None, "layers") for axis in axes) > 1
        ),
    )


def _few(model: FunctionalModel, partitioner: Partitioner) -> float:
    """Return the float32 bytes of gradients that are summed whole: of norms, biases and learned positions.

    Rows of positions are kept in parts, and summed whole behind a norm (BERT, OPT 350M), in bfloat16.
    """
    vectors = sum(
        4 * math.prod(leaf.shape)
        for _, axes, leaf in _parameters(model)
        if partitioner.sharding(axes, leaf.shape).shard_shape(leaf.shape) == leaf.shape
    )
    rows = sum(4 * each.num_positions * each.cycle[0].attention.embed_dim for each in model.config.stacks)
    return vectors + rows


def _of_relative_bias(model: FunctionalModel) -> float:
    """Return the bytes that T5's bias adds to that, in float32.

    Its table is a few numbers, but its gradient is summed over the devices as heads x queries x keys, where
    the reference attention computes it, and only then by distance.
    """
    whole = 0
    for stack in model.config.stacks:
        tables = (stack.positions.stack_bias is not None) + stack.num_layers * (
            stack.positions.layer_bias is not None
        )
        whole += 4 * tables * stack.cycle[0].attention.num_heads * LENGTH**2
    return whole


def summed_whole(step: CompiledStep) -> list[Collective]:
    """Return what devices that share parameters sum, each for all of them: twice what a scatter sends."""
    return [each for each in step.collectives if each.kind == "all-reduce" and "fsdp" in each.axes]


def rounded_sums(step: CompiledStep, module: Module) -> list[str]:
    """Return what adds many terms to a bfloat16, which is rounded each time.

    Rows that are added to a table one by one, and parts of products that are added while they go around the
    devices that share a kernel (windowed products).
    """
    rows = [each.name for _, each in module.walk() if each.opcode == "scatter" and "bf16" in _dtypes(each)]
    around = [
        each.op_name
        for each in step.collectives
        if (each.kind, each.dtype) == ("collective-permute", "bf16") and "fsdp" in each.axes
    ]
    return rows + around


def may_be_sent(model: FunctionalModel, partitioner: Partitioner) -> dict[str, float]:
    """Return the bytes that ``summed_whole`` may send of a step, by dtype.

    Kernels' gradients are products, in bfloat16, so that what T5's bias may send hides none of them.
    """
    few = 2 * _few(model, partitioner) + 16 * _KIB
    return {"bf16": few, "f32": few + 2 * _of_relative_bias(model)}


def too_much(
    found: Iterable[Collective], model: FunctionalModel, partitioner: Partitioner
) -> dict[str, float]:
    """Return the bytes by dtype of sums that send more than they may; other dtypes are of scalars."""
    sent: defaultdict[str, float] = defaultdict(float)
    for each in found:
        sent[each.dtype] += each.total_bytes
    allowed = may_be_sent(model, partitioner)
    return {dtype: size for dtype, size in sent.items() if size > allowed.get(dtype, 16 * _KIB)}


def _dtypes(instruction: Instruction) -> set[str]:
    return {array.dtype for array in instruction.arrays}


def _parameters(model: FunctionalModel) -> Iterator[tuple[str, tuple[str | None, ...], Any]]:
    axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    leaves = jax.tree_util.tree_leaves_with_path(model.abstract_params)
    for (path, leaf), each in zip(leaves, axes, strict=True):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), each, leaf

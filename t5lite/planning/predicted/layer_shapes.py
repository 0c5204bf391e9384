"""Sizes of a layer's arrays on one device."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.models.config import (
    AttentionSpec,
    Execution,
    LayerSpec,
    ModelConfig,
    StackSpec,
    TransformerConfig,
)
from t5lite.models.flops import stack_lengths
from t5lite.models.functional import FunctionalModel
from t5lite.models.kernels.choice import backend_on
from t5lite.models.kernels.shapes import AttentionShape
from t5lite.models.kernels.table import KERNELS
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.partitioning import Partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.training.gradients import StepGradients

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True)
class ActivationShards:
    """Into how many parts the rules of a mesh split each dimension of the activations."""

    rows: int
    """Of the batch."""
    residual_length: int
    """Of the residual stream's length."""
    length: int
    """Of the length where heads or the MLP are split too."""
    heads: int
    kv_heads: Mapping[str | None, int]
    """By their logical axis."""
    mlp: int
    vocab: int


def activation_shards(config: TransformerConfig, partitioner: Partitioner) -> ActivationShards:
    """Return the parts for the arrays that the models constrain."""

    def parts(*axes: str | None) -> list[int]:
        sizes = partitioner.mesh.shape
        counts = []
        for entry in partitioner.activation_spec(axes):
            names = (entry,) if isinstance(entry, str) else entry or ()
            counts.append(math.prod(sizes[name] for name in names))
        return counts

    rows, residual_length, _ = parts("batch", "length", "embed")
    _, length, heads, _ = parts("batch", "length", "heads", "kv")
    return ActivationShards(
        rows=rows,
        residual_length=residual_length,
        length=length,
        heads=heads,
        kv_heads={axis: parts("batch", None, axis, "kv")[2] for axis in config.kv_heads_axes},
        mlp=parts("batch", "length", "mlp")[2],
        vocab=parts("batch", "length", "vocab")[2],
    )


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer's arrays for one microbatch on one device, in bytes of the compute dtype unless said so."""

    num_layers: int
    """How many such layers there are in the stack."""
    itemsize: int
    """Bytes of one number in the compute dtype."""
    residual: float
    """The residual stream as it is between attention and MLP."""
    whole: float
    """The residual stream as attention and MLP read it: not split over the devices that share heads."""
    query: float
    key_value: float
    """Keys and values together, of merged attention those of the encoder's output too."""
    weights: float
    """Attention weights, as much."""
    hidden: float
    """One of the MLP's hidden arrays."""
    num_inputs: int
    """Input kernels of the MLP."""
    fused: bool
    """Whether a kernel computes self-attention, so that its weights never reach main memory."""
    cross: "CrossShape | None"
    num_norms: int
    """Over the residual stream."""
    num_blocks: int
    """Blocks whose outputs are summed apart."""
    norms_mlp_output: bool
    """Whether a norm reads what the MLP gives."""
    through: bool
    """Whether gradients pass through it; where none do, there is no backward pass to keep anything for."""
    trained: float
    """The share of the stack's kernels that gradients are taken of."""


@dataclass(frozen=True, kw_only=True)
class CrossShape:
    """The arrays of cross-attention, like those of ``LayerShape``.

    Merged attention has the encoder's output alone; the rest is 0, since it is in the layer's own.
    """

    encoded: float
    """The encoder's output as it is read."""
    encoded_gradient: bool
    """Whether its gradient is taken."""
    residual: float
    whole: float
    query: float
    key_value: float
    weights: float
    fused: bool


class FusedAttention(NamedTuple):
    """Which attention of a layer a kernel computes."""

    own: bool
    """Self-attention."""
    cross: bool


class LayersOfAKind(NamedTuple):
    """The like layers of a stack, and the lengths that they work on."""

    stack: StackSpec
    layer: LayerSpec
    number: int
    length: int
    memory_length: int | None


def kinds_of_layers(config: ModelConfig, batch: BatchShape) -> list[LayersOfAKind]:
    """Return the layers of all stacks, like ones of a stack together, those of the encoder first."""
    return [
        LayersOfAKind(stack, layer, number, length, memory_length)
        for stack, length, memory_length in stack_lengths(config, batch.encoder_length, batch.decoder_length)
        for layer, number in stack.counts.items()
    ]


def fused_attention(
    config: ModelConfig, execution: Execution, batch: BatchShape, platform: str, partitioner: Partitioner
) -> list[FusedAttention]:
    """Return for every kind of layers what the model would choose for itself on this platform and mesh."""

    def is_fused(attention: AttentionSpec | None, query_length: int, key_length: int | None) -> bool:
        if attention is None or key_length is None:
            return False
        shape = AttentionShape.of_layer(
            attention,
            execution,
            AttentionMask(window=attention.window),
            (batch.batch_size, query_length, key_length),
            drops=config.dropout_rate > 0.0,
        )
        return backend_on(platform, partitioner, execution.attention, shape) in KERNELS

    return [
        FusedAttention(
            own=is_fused(layer.attention, length, length),
            cross=is_fused(layer.cross_attention, length, memory_length),
        )
        for _, layer, _, length, memory_length in kinds_of_layers(config, batch)
    ]


def layer_shapes(
    model: FunctionalModel,
    gradients: StepGradients,
    shards: ActivationShards,
    batch: BatchShape,
    *,
    rows: float,
    fused: Sequence[FusedAttention],
) -> list[LayerShape]:
    """Return one shape a kind of layers.

    Args:
      model: for its configuration and compute dtype.
      gradients: that a step takes.
      shards: of its activations.
      batch: whose lengths count.
      rows: of a microbatch on one device.
      fused: for every kind of layers, what kernels compute.
    """
    itemsize = _DTYPE_BYTES[model.execution.compute_dtype]
    return [
        _layer_shape(kind, gradients, itemsize, shards, rows, kernels)
        for kind, kernels in zip(kinds_of_layers(model.config, batch), fused, strict=True)
    ]


def _layer_shape(
    kind: LayersOfAKind,
    gradients: StepGradients,
    itemsize: int,
    shards: ActivationShards,
    rows: float,
    fused: FusedAttention,
) -> LayerShape:
    stack, layer, num_layers, length, memory_length = kind
    own, memory = layer.attention, layer.cross_attention
    part = math.ceil(length / shards.length)

    def key_value(attention: AttentionSpec, length: int) -> float:
        return (
            rows
            * length
            * (2 * attention.kv_heads / shards.kv_heads[attention.kv_heads_axis] * attention.head_dim)
            * itemsize
        )

    def weights(attention: AttentionSpec, length: int) -> float:
        return rows * (attention.num_heads / shards.heads) * part * length * itemsize

    residual = rows * math.ceil(length / shards.residual_length) * layer.embed_dim * itemsize
    whole = rows * part * layer.embed_dim * itemsize
    query = rows * part * (own.num_heads / shards.heads) * own.head_dim * itemsize
    cross = None
    if memory_length is not None and stack.memory is not None:
        apart = memory is not None
        cross = CrossShape(
            encoded=rows * math.ceil(memory_length / shards.length) * (memory or own).memory_dim * itemsize,
            encoded_gradient=gradients.stacks[stack.memory].output,
            residual=residual * apart,
            whole=whole * apart,
            query=query * apart,
            key_value=key_value(memory, memory_length) if memory is not None else 0.0,
            weights=weights(memory, memory_length) if memory is not None else 0.0,
            fused=fused.cross,
        )
    num_keys = length + own.num_merged(memory_length)
    return LayerShape(
        num_layers=num_layers,
        itemsize=itemsize,
        residual=residual,
        whole=whole,
        query=query,
        key_value=key_value(own, num_keys),
        weights=weights(own, num_keys),
        hidden=rows * part * layer.mlp_dim / shards.mlp * itemsize,
        num_inputs=layer.mlp.num_inputs,
        fused=fused.own,
        cross=cross,
        num_norms=layer.num_norms,
        num_blocks=layer.num_blocks,
        norms_mlp_output=layer.norms_mlp_output,
        through=gradients.stacks[stack.side].through,
        trained=gradients.trained_share(stack.side),
    )

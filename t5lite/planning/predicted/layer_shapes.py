"""Sizes of a layer's arrays on one device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.models.config import ModelConfig, TransformerConfig
from t5lite.models.flops import stacks
from t5lite.models.kernels.choice import AttentionShape, backend_on
from t5lite.partitioning import Partitioner
from t5lite.planning.compiled.compile import BatchShape

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
    kv_heads: int
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
        kv_heads=parts("batch", None, config.kv_heads_axis, "kv")[2],
        mlp=parts("batch", "length", "mlp")[2],
        vocab=parts("batch", "length", "vocab")[2],
    )


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer's arrays for one microbatch on one device, in bytes of the compute dtype unless said so."""

    num_layers: int
    itemsize: int
    """Bytes of one number in the compute dtype."""
    residual: float
    """The residual stream as it is between attention and MLP."""
    whole: float
    """The residual stream as attention and MLP read it: not split over the devices that share heads."""
    query: float
    key_value: float
    """Keys and values together."""
    weights: float
    """Attention weights."""
    hidden: float
    """One of the MLP's hidden arrays."""
    num_inputs: int
    """Input kernels of the MLP."""
    fused: bool
    """Whether a kernel computes self-attention, so that its weights never reach main memory."""
    cross: "CrossShape | None"
    parallel: bool
    """Whether attention and MLP share one norm."""

    @property
    def num_norms(self) -> int:
        """Norms of the layer."""
        return 2 - self.parallel + (self.cross is not None)


@dataclass(frozen=True, kw_only=True)
class CrossShape:
    """The arrays of cross-attention, like those of ``LayerShape``."""

    encoded: float
    """The encoder's output as it is read."""
    key_value: float
    weights: float
    fused: bool


class FusedAttention(NamedTuple):
    """Which attention of a stack's layers a kernel computes."""

    own: bool
    """Self-attention."""
    cross: bool


def fused_attention(
    config: ModelConfig, batch: BatchShape, platform: str, partitioner: Partitioner
) -> list[FusedAttention]:
    """Return for every stack what the model would choose for itself on this platform and mesh."""

    def is_fused(query_length: int, key_length: int) -> bool:
        shape = AttentionShape(
            batch=batch.batch_size,
            query_length=query_length,
            key_length=key_length,
            num_heads=config.num_heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            dtype=config.compute_dtype,
            cached=False,
        )
        return backend_on(platform, partitioner, config.attention, shape) != "reference"

    return [
        FusedAttention(own=is_fused(length, length), cross=memory is not None and is_fused(length, memory))
        for _, length, memory in stacks(config, batch.encoder_length, batch.decoder_length)
    ]


def layer_shapes(
    config: ModelConfig,
    shards: ActivationShards,
    batch: BatchShape,
    *,
    rows: float,
    fused: Sequence[FusedAttention],
) -> list[LayerShape]:
    """Return one shape a stack.

    Args:
      config: of the model.
      shards: of its activations.
      batch: whose lengths count.
      rows: of a microbatch on one device.
      fused: for every stack, what kernels compute.
    """
    lengths = stacks(config, batch.encoder_length, batch.decoder_length)
    return [
        _layer_shape(config, shards, rows, stack, kernels)
        for stack, kernels in zip(lengths, fused, strict=True)
    ]


def _layer_shape(
    config: TransformerConfig,
    shards: ActivationShards,
    rows: float,
    stack: tuple[int, int, int | None],
    fused: FusedAttention,
) -> LayerShape:
    num_layers, length, memory_length = stack
    itemsize = _DTYPE_BYTES[config.compute_dtype]
    part = math.ceil(length / shards.length)
    heads = config.num_heads / shards.heads
    kv_width = 2 * config.kv_heads / shards.kv_heads * config.head_dim
    cross = None
    if memory_length is not None:
        cross = CrossShape(
            encoded=rows * math.ceil(memory_length / shards.length) * config.embed_dim * itemsize,
            key_value=rows * memory_length * kv_width * itemsize,
            weights=rows * heads * part * memory_length * itemsize,
            fused=fused.cross,
        )
    return LayerShape(
        num_layers=num_layers,
        itemsize=itemsize,
        residual=rows * math.ceil(length / shards.residual_length) * config.embed_dim * itemsize,
        whole=rows * part * config.embed_dim * itemsize,
        query=rows * part * heads * config.head_dim * itemsize,
        key_value=rows * length * kv_width * itemsize,
        weights=rows * heads * part * length * itemsize,
        hidden=rows * part * config.mlp_dim / shards.mlp * itemsize,
        num_inputs=2 if config.gated_mlp else 1,
        fused=fused.own,
        cross=cross,
        parallel=config.parallel_block,
    )

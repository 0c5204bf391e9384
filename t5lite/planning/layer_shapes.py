"""Sizes of a layer's arrays on one device."""

import math
from dataclasses import dataclass

from t5lite.models.config import ModelConfig, TransformerConfig
from t5lite.models.flops import stacks
from t5lite.partitioning import Partitioner

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

    same_heads = config.kv_heads == config.num_heads
    kv_name = "heads" if same_heads else "kv_heads" if config.kv_heads > 1 else None
    rows, residual_length, _ = parts("batch", "length", "embed")
    _, length, heads, _ = parts("batch", "length", "heads", "kv")
    return ActivationShards(
        rows=rows,
        residual_length=residual_length,
        length=length,
        heads=heads,
        kv_heads=parts("batch", None, kv_name, "kv")[2],
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


def layer_shapes(
    config: ModelConfig, shards: ActivationShards, *, rows: float, encoder_length: int, decoder_length: int
) -> list[LayerShape]:
    """Return one shape a stack, for ``rows`` rows of a microbatch on a device."""
    return [
        _layer_shape(
            config, shards, rows=rows, num_layers=num_layers, length=length, memory_length=memory_length
        )
        for num_layers, length, memory_length in stacks(config, encoder_length, decoder_length)
    ]


def _layer_shape(
    config: TransformerConfig,
    shards: ActivationShards,
    *,
    rows: float,
    num_layers: int,
    length: int,
    memory_length: int | None,
) -> LayerShape:
    itemsize = _DTYPE_BYTES[config.compute_dtype]
    part = math.ceil(length / shards.length)
    heads = config.num_heads / shards.heads
    kv_width = 2 * config.kv_heads / shards.kv_heads * config.head_dim
    cross = None
    if memory_length is not None:
        cross = CrossShape(
            encoded=rows * memory_length * config.embed_dim * itemsize,
            key_value=rows * memory_length * kv_width * itemsize,
            weights=rows * heads * part * memory_length * itemsize,
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
        cross=cross,
        parallel=config.parallel_block,
    )

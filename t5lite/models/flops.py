"""Floating-point operations of a forward pass and of a train step, counted from the shapes.

What counts are the matrix products, a multiply-add as two; norms, softmax, the embedding lookup and the
relative bias are left out, as is usual for MFU. Causal attention counts in full, because the reference op
computes it in full.

A stack that an architecture does not have counts nothing, whatever length is given for it: encoder-only
models read ``encoder_length``, decoder-only models ``decoder_length``.
"""

from typing import NamedTuple

from t5lite.models.config import ModelConfig, TransformerConfig


class LayerFlops(NamedTuple):
    """FLOPs of the layers of all stacks in one forward pass, by product."""

    query: float
    key: float
    value: float
    logits: float
    """Queries with keys."""
    context: float
    """Attention weights with values."""
    attention_out: float
    mlp_wi: float
    """All input kernels of the MLP."""
    mlp_wo: float


def stacks(
    config: ModelConfig, encoder_length: int, decoder_length: int
) -> list[tuple[int, int, int | None]]:
    """Return (layers, length, length of the memory that they cross-attend to) of every stack."""
    lengths = {"encoder": encoder_length, "decoder": decoder_length}
    return [
        (stack.num_layers, lengths[stack.side], None if stack.memory is None else lengths[stack.memory])
        for stack in config.stacks
    ]


def layer_flops(
    config: ModelConfig, *, batch_size: int, encoder_length: int = 0, decoder_length: int = 0
) -> LayerFlops:
    """Return the part of ``forward_flops`` that is in layers, not in the embedding or the head."""
    counts: list[list[float]] = []
    for num_layers, length, memory_length in stacks(config, encoder_length, decoder_length):
        parts = [_attention(config, query_length=length, memory_length=length), _mlp(config, length=length)]
        if memory_length is not None:
            parts.append(_attention(config, query_length=length, memory_length=memory_length))
        counts += [[num_layers * each for each in part] for part in parts]
    return LayerFlops(*(float(batch_size * sum(column)) for column in zip(*counts, strict=True)))


def forward_flops(
    config: ModelConfig, *, batch_size: int, encoder_length: int = 0, decoder_length: int = 0
) -> float:
    """Return the FLOPs of one forward pass over ``batch_size`` rows, the head's included."""
    lengths = [length for _, length, _ in stacks(config, encoder_length, decoder_length)]
    row = sum(map(config.table_flops, lengths)) + config.head_flops(lengths[-1])
    layers = layer_flops(
        config, batch_size=batch_size, encoder_length=encoder_length, decoder_length=decoder_length
    )
    return float(batch_size * row) + sum(layers)


def train_step_flops(
    config: ModelConfig, *, batch_size: int, encoder_length: int = 0, decoder_length: int = 0
) -> float:
    """Return the FLOPs of a train step: three times the forward pass (the backward pass is two of them).

    What ``remat`` recomputes does not count, so that MFU is comparable between policies.
    """
    return 3 * forward_flops(
        config, batch_size=batch_size, encoder_length=encoder_length, decoder_length=decoder_length
    )


def train_flops_per_token(config: ModelConfig, *, encoder_length: int = 0, decoder_length: int = 0) -> float:
    """Return the FLOPs of a train step for each token that enters the model, on either side."""
    flops = train_step_flops(
        config, batch_size=1, encoder_length=encoder_length, decoder_length=decoder_length
    )
    return flops / sum(length for _, length, _ in stacks(config, encoder_length, decoder_length))


def _attention(config: TransformerConfig, *, query_length: int, memory_length: int) -> LayerFlops:
    """Return the FLOPs of an attention layer on one row."""
    inner, kv_inner = config.num_heads * config.head_dim, config.kv_heads * config.head_dim
    query, key = (2 * config.embed_dim * size for size in (query_length * inner, memory_length * kv_inner))
    logits = 2 * query_length * memory_length * inner
    return LayerFlops(query, key, key, logits, logits, query, 0, 0)


def _mlp(config: TransformerConfig, *, length: int) -> LayerFlops:
    """Return the FLOPs of an MLP on one row."""
    kernel = 2 * length * config.embed_dim * config.mlp_dim
    return LayerFlops(0, 0, 0, 0, 0, 0, kernel * (2 if config.gated_mlp else 1), kernel)

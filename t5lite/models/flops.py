"""Floating-point operations of a forward pass and of a train step, counted from the shapes.

What counts are the matrix products, a multiply-add as two; norms, softmax, the embedding lookup and the
relative bias are left out, as is usual for MFU. Causal attention counts in full, because the reference op
computes it in full; of a layer with a window the keys count that a query sees.

A stack that an architecture does not have counts nothing, whatever length is given for it: encoder-only
models read ``encoder_length``, decoder-only models ``decoder_length``.
"""

from typing import NamedTuple

from t5lite.models.config import AttentionSpec, LayerSpec, ModelConfig, StackSpec


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


class StackLengths(NamedTuple):
    """A stack and the lengths that it works on."""

    stack: StackSpec
    length: int
    memory_length: int | None
    """Of what it attends to besides."""


def stack_lengths(config: ModelConfig, encoder_length: int, decoder_length: int) -> list[StackLengths]:
    """Return every stack with its lengths."""
    lengths = {"encoder": encoder_length, "decoder": decoder_length}
    return [
        StackLengths(stack, lengths[stack.side], None if stack.memory is None else lengths[stack.memory])
        for stack in config.stacks
    ]


def layer_flops(
    config: ModelConfig, *, batch_size: int, encoder_length: int = 0, decoder_length: int = 0
) -> LayerFlops:
    """Return the part of ``forward_flops`` that is in layers, not in the embedding or the head."""
    stacks = [stack_flops(each) for each in stack_lengths(config, encoder_length, decoder_length)]
    return LayerFlops(*(float(batch_size * sum(column)) for column in zip(*stacks, strict=True)))


def stack_flops(lengths: StackLengths) -> LayerFlops:
    """Return the part of ``layer_flops`` that is in one stack, of one row."""
    stack, length, memory_length = lengths
    counts: list[list[float]] = []
    for layer, number in stack.counts.items():
        own = layer.attention
        merged = own.num_merged(memory_length)
        parts = [_attention(own, query_length=length, key_length=length, num_merged=merged)]
        parts.append(_mlp(layer, length=length))
        if layer.cross_attention is not None and memory_length is not None:
            cross = layer.cross_attention
            parts.append(_attention(cross, query_length=length, key_length=memory_length))
        counts += [[number * each for each in part] for part in parts]
    return LayerFlops(*map(sum, zip(*counts, strict=True)))


def cross_logits_flops(lengths: StackLengths) -> float:
    """Return those of one row's queries with the keys of the memory; of weights with values it is as many."""
    stack, length, memory_length = lengths
    total = 0.0
    for layer, number in stack.counts.items():
        own, cross = layer.attention, layer.cross_attention
        total += number * 2 * length * own.num_merged(memory_length) * own.width
        if cross is not None and memory_length is not None:
            total += number * _attention(cross, query_length=length, key_length=memory_length).logits
    return total


def forward_flops(
    config: ModelConfig, *, batch_size: int, encoder_length: int = 0, decoder_length: int = 0
) -> float:
    """Return the FLOPs of one forward pass over ``batch_size`` rows, the head's included."""
    lengths = [each.length for each in stack_lengths(config, encoder_length, decoder_length)]
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
    return flops / sum(each.length for each in stack_lengths(config, encoder_length, decoder_length))


def _attention(
    attention: AttentionSpec, *, query_length: int, key_length: int, num_merged: int = 0
) -> LayerFlops:
    """Return the FLOPs of an attention on one row, whose softmax may be over another stack's keys too."""
    query = 2 * attention.embed_dim * query_length * attention.width
    key = 2 * attention.memory_dim * (key_length + num_merged) * attention.kv_width
    logits = 2 * query_length * (attention.num_visible(key_length) + num_merged) * attention.width
    return LayerFlops(query, key, key, logits, logits, query, 0, 0)


def _mlp(layer: LayerSpec, *, length: int) -> LayerFlops:
    """Return the FLOPs of an MLP on one row."""
    kernel = 2 * length * layer.embed_dim * layer.mlp_dim
    return LayerFlops(0, 0, 0, 0, 0, 0, kernel * layer.mlp.num_inputs, kernel)

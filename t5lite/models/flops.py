"""Floating-point operations of a forward pass and of a train step, counted from the shapes.

What counts are the matrix products, a multiply-add as two; norms, softmax, the embedding lookup and the
relative bias are left out, as is usual for MFU. Causal attention counts in full, because the reference op
computes it in full.

A stack that an architecture does not have counts nothing, whatever length is given for it: encoder-only
models read ``encoder_length``, decoder-only models ``decoder_length``.
"""

from typing import NamedTuple

from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig, TransformerConfig


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
    if isinstance(config, EncoderOnlyConfig):
        return [(config.num_layers, encoder_length, None)]
    if isinstance(config, EncoderDecoderConfig):
        return [
            (config.num_encoder_layers, encoder_length, None),
            (config.num_decoder_layers, decoder_length, encoder_length),
        ]
    return [(config.num_layers, decoder_length, None)]


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
    if isinstance(config, EncoderOnlyConfig):
        row = _embedding(config, length=encoder_length) + _encoder_only_head(config, length=encoder_length)
    elif isinstance(config, EncoderDecoderConfig):
        row = _embedding(config, length=encoder_length + decoder_length)
        row += _logits(config, length=decoder_length)
    else:
        row = _embedding(config, length=decoder_length) + _logits(config, length=decoder_length)
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
    if isinstance(config, EncoderDecoderConfig):
        return flops / (encoder_length + decoder_length)
    return flops / (encoder_length if isinstance(config, EncoderOnlyConfig) else decoder_length)


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


def _embedding(config: TransformerConfig, *, length: int) -> int:
    """Return the FLOPs of projecting a narrow table's rows to the model's width."""
    return 2 * length * config.table_dim * config.embed_dim if config.table_dim is not None else 0


def _logits(config: TransformerConfig, *, length: int) -> int:
    """Return the FLOPs of the projection to the vocabulary, through the width of a narrow table."""
    return _embedding(config, length=length) + 2 * length * config.width_of_table * config.vocab_size


def _encoder_only_head(config: EncoderOnlyConfig, *, length: int) -> int:
    """Return the FLOPs of the head on one row; masked LM predicts at every position."""
    square = 2 * config.embed_dim * config.embed_dim
    flops = square if config.has_pooler else 0
    if config.head in ("masked_lm", "pretraining"):
        flops += length * square + _logits(config, length=length)
    num_labels = {
        "pretraining": 2,
        "sequence_classification": config.num_labels,
        "token_classification": length * config.num_labels,
        "span_extraction": length * 2,
    }
    return flops + 2 * config.embed_dim * num_labels.get(config.head, 0)

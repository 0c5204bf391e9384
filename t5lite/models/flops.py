"""Floating-point operations of a train step, counted from the shapes."""

from t5lite.models.config import EncoderDecoderConfig


def _attention_flops(
    config: EncoderDecoderConfig, *, query_length: int, memory_length: int, num_rows: int
) -> int:
    """Return the forward FLOPs of one attention layer: four projections, the logits, the weighted sum."""
    inner = config.num_heads * config.head_dim
    projections = 2 * config.embed_dim * inner * (2 * query_length + 2 * memory_length)
    return num_rows * (projections + 2 * 2 * query_length * memory_length * inner)


def _mlp_flops(config: EncoderDecoderConfig, *, num_tokens: int) -> int:
    """Return the forward FLOPs of one MLP."""
    num_kernels = 3 if config.mlp_activation == "gated_gelu" else 2
    return num_kernels * 2 * num_tokens * config.embed_dim * config.mlp_dim


def forward_flops(
    config: EncoderDecoderConfig, *, batch_size: int, encoder_length: int, decoder_length: int
) -> float:
    """Return the FLOPs of the matrix products of one forward pass, a multiply-add counting two.

    Norms, softmax, the embedding lookup and the relative bias are left out, as is usual for MFU; causal
    attention counts in full, because the reference op computes it in full.
    """
    encoder_layer = _attention_flops(
        config, query_length=encoder_length, memory_length=encoder_length, num_rows=batch_size
    ) + _mlp_flops(config, num_tokens=batch_size * encoder_length)
    decoder_layer = (
        _attention_flops(
            config, query_length=decoder_length, memory_length=decoder_length, num_rows=batch_size
        )
        + _attention_flops(
            config, query_length=decoder_length, memory_length=encoder_length, num_rows=batch_size
        )
        + _mlp_flops(config, num_tokens=batch_size * decoder_length)
    )
    logits = 2 * batch_size * decoder_length * config.embed_dim * config.vocab_size
    return float(
        config.num_encoder_layers * encoder_layer + config.num_decoder_layers * decoder_layer + logits
    )


def train_step_flops(
    config: EncoderDecoderConfig, *, batch_size: int, encoder_length: int, decoder_length: int
) -> float:
    """Return the FLOPs of a train step: three times the forward pass (the backward pass is two of them).

    What ``remat`` recomputes does not count, so that MFU is comparable between policies.
    """
    return 3 * forward_flops(
        config, batch_size=batch_size, encoder_length=encoder_length, decoder_length=decoder_length
    )

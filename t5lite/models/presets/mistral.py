"""Mistral 7B."""

from functools import partial

from t5lite.models.config import AttentionConfig, DecoderOnlyConfig


def _mistral_7b() -> DecoderOnlyConfig:
    """Mistral 7B: Llama 2 with 8 heads of keys and values, and a window of 4,096 tokens in every layer.

    Source: Jiang et al. 2023, "Mistral 7B", table 1; exact count of the released checkpoint, version 0.1.
    Later versions have no window and rotations of base 1,000,000.
    """
    return DecoderOnlyConfig(
        vocab_size=32_000,
        embed_dim=4096,
        mlp_dim=14_336,
        head_dim=128,
        num_heads=32,
        num_kv_heads=8,
        num_layers=32,
        max_length=32_768,
        attention=AttentionConfig(scaled=True, windows=(4096,)),
    )


PRESETS: dict[str, partial[DecoderOnlyConfig]] = {"mistral-7b": partial(_mistral_7b)}
"""The released size."""

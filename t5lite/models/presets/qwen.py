"""Qwen 2, 2.5 and 3."""

from functools import partial

from t5lite.models.config import AttentionConfig, DecoderOnlyConfig, RMSNorm, RotaryPositions


def _qwen2(
    *,
    embed_dim: int,
    mlp_dim: int,
    num_layers: int,
    num_heads: int,
    num_kv_heads: int,
    vocab_size: int = 152_064,
    tied: bool = False,
) -> DecoderOnlyConfig:
    """Qwen 2 and 2.5: Llama with biases on queries, keys and values, and rotations of base 1,000,000.

    Source: Yang et al. 2024, "Qwen2 Technical Report", table 1, and the config.json of the released
    checkpoints; exact counts of these.
    """
    return DecoderOnlyConfig(
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=embed_dim // num_heads,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        num_layers=num_layers,
        max_length=131_072,
        positions=RotaryPositions(base=1_000_000.0),
        norm=RMSNorm(epsilon=1e-6),
        attention=AttentionConfig(scaled=True, biases="qkv"),
        tie_embeddings=tied,
    )


def _qwen3(
    *, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int, tied: bool = False
) -> DecoderOnlyConfig:
    """Qwen 3, the dense sizes: a norm over each head of queries and keys in the place of Qwen 2's biases.

    Source: Yang et al. 2025, "Qwen3 Technical Report", table 1, and the config.json of the released
    checkpoints; exact counts of these.
    """
    return DecoderOnlyConfig(
        vocab_size=151_936,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=128,
        num_heads=num_heads,
        num_kv_heads=8,
        num_layers=num_layers,
        max_length=40_960,
        positions=RotaryPositions(base=1_000_000.0),
        norm=RMSNorm(epsilon=1e-6),
        attention=AttentionConfig(scaled=True, qk_norm=True),
        tie_embeddings=tied,
    )


_SMALL = {"vocab_size": 151_936, "num_kv_heads": 2, "tied": True}

PRESETS: dict[str, partial[DecoderOnlyConfig]] = {
    "qwen2-0.5b": partial(_qwen2, embed_dim=896, mlp_dim=4864, num_layers=24, num_heads=14, **_SMALL),
    "qwen2-1.5b": partial(_qwen2, embed_dim=1536, mlp_dim=8960, num_layers=28, num_heads=12, **_SMALL),
    "qwen2-7b": partial(_qwen2, embed_dim=3584, mlp_dim=18_944, num_layers=28, num_heads=28, num_kv_heads=4),
    "qwen2-72b": partial(_qwen2, embed_dim=8192, mlp_dim=29_568, num_layers=80, num_heads=64, num_kv_heads=8),
    "qwen3-0.6b": partial(_qwen3, embed_dim=1024, mlp_dim=3072, num_layers=28, num_heads=16, tied=True),
    "qwen3-1.7b": partial(_qwen3, embed_dim=2048, mlp_dim=6144, num_layers=28, num_heads=16, tied=True),
    "qwen3-4b": partial(_qwen3, embed_dim=2560, mlp_dim=9728, num_layers=36, num_heads=32, tied=True),
    "qwen3-8b": partial(_qwen3, embed_dim=4096, mlp_dim=12_288, num_layers=36, num_heads=32),
    "qwen3-14b": partial(_qwen3, embed_dim=5120, mlp_dim=17_408, num_layers=40, num_heads=40),
    "qwen3-32b": partial(_qwen3, embed_dim=5120, mlp_dim=25_600, num_layers=64, num_heads=64),
}
"""The released dense sizes."""

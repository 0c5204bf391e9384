"""Llama 2 and 3."""

from functools import partial

from t5lite.models.config import DecoderOnlyConfig, RotaryPositions


def _llama2(
    *, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int, num_kv_heads: int | None = None
) -> DecoderOnlyConfig:
    """Llama 2: RMSNorm, SwiGLU, rotary positions, untied embeddings, grouped keys and values in 70B.

    Source: Touvron et al. 2023, "Llama 2: Open Foundation and Fine-Tuned Chat Models"; exact counts of the
    released checkpoints.
    """
    return DecoderOnlyConfig(
        vocab_size=32_000,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=128,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        num_layers=num_layers,
        max_length=4096,
    )


def _llama3(*, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int) -> DecoderOnlyConfig:
    """Llama 3: Llama 2 with 8 heads of keys and values, 128,256 tokens and rotations of base 500,000.

    Source: Grattafiori et al. 2024, "The Llama 3 Herd of Models", table 3; exact counts of the released
    checkpoints of 8,192 positions. The longer contexts of Llama 3.1 rescale the rotations, which is not kept.
    """
    return DecoderOnlyConfig(
        vocab_size=128_256,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=128,
        num_heads=num_heads,
        num_kv_heads=8,
        num_layers=num_layers,
        max_length=8192,
        positions=RotaryPositions(base=500_000.0),
    )


PRESETS: dict[str, partial[DecoderOnlyConfig]] = {
    "llama2-7b": partial(_llama2, embed_dim=4096, mlp_dim=11008, num_layers=32, num_heads=32),
    "llama2-13b": partial(_llama2, embed_dim=5120, mlp_dim=13824, num_layers=40, num_heads=40),
    "llama2-70b": partial(
        _llama2, embed_dim=8192, mlp_dim=28672, num_layers=80, num_heads=64, num_kv_heads=8
    ),
    "llama3-8b": partial(_llama3, embed_dim=4096, mlp_dim=14336, num_layers=32, num_heads=32),
    "llama3-70b": partial(_llama3, embed_dim=8192, mlp_dim=28672, num_layers=80, num_heads=64),
}
"""The released sizes."""

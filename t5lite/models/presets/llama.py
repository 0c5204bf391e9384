"""Llama 2, 3, 3.1 and 3.2."""

from functools import partial

from t5lite.models.config import DecoderOnlyConfig, Llama3Scaling, RotaryPositions


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
    checkpoints of 8,192 positions.
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


def _llama31(
    *,
    embed_dim: int,
    mlp_dim: int,
    num_layers: int,
    num_heads: int,
    head_dim: int = 128,
    factor: float = 8.0,
    tied: bool = False,
) -> DecoderOnlyConfig:
    """Llama 3.1 and 3.2: Llama 3 for 131,072 positions, by rotations whose long wavelengths are stretched.

    Source: Grattafiori et al. 2024, and the config.json of the released checkpoints (the texts of 3.2); exact
    counts of these. 3.2 has tied embeddings.
    """
    return DecoderOnlyConfig(
        vocab_size=128_256,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=head_dim,
        num_heads=num_heads,
        num_kv_heads=8,
        num_layers=num_layers,
        max_length=131_072,
        positions=RotaryPositions(base=500_000.0, scaling=Llama3Scaling(factor=factor)),
        tie_embeddings=tied,
    )


PRESETS: dict[str, partial[DecoderOnlyConfig]] = {
    "llama2-7b": partial(_llama2, embed_dim=4096, mlp_dim=11008, num_layers=32, num_heads=32),
    "llama2-13b": partial(_llama2, embed_dim=5120, mlp_dim=13824, num_layers=40, num_heads=40),
    "llama2-70b": partial(
        _llama2, embed_dim=8192, mlp_dim=28672, num_layers=80, num_heads=64, num_kv_heads=8
    ),
    "llama3-8b": partial(_llama3, embed_dim=4096, mlp_dim=14336, num_layers=32, num_heads=32),
    "llama3-70b": partial(_llama3, embed_dim=8192, mlp_dim=28672, num_layers=80, num_heads=64),
    "llama3.1-8b": partial(_llama31, embed_dim=4096, mlp_dim=14336, num_layers=32, num_heads=32),
    "llama3.1-70b": partial(_llama31, embed_dim=8192, mlp_dim=28672, num_layers=80, num_heads=64),
    "llama3.1-405b": partial(_llama31, embed_dim=16384, mlp_dim=53248, num_layers=126, num_heads=128),
    "llama3.2-1b": partial(
        _llama31,
        embed_dim=2048,
        mlp_dim=8192,
        num_layers=16,
        num_heads=32,
        head_dim=64,
        factor=32.0,
        tied=True,
    ),
    "llama3.2-3b": partial(
        _llama31, embed_dim=3072, mlp_dim=8192, num_layers=28, num_heads=24, factor=32.0, tied=True
    ),
}
"""The released sizes."""

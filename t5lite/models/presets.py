"""The published shapes by name."""

from collections.abc import Callable
from functools import partial

from t5lite.core.registry import lookup
from t5lite.models.config import EncoderDecoderConfig


def _t5_1_0(
    *, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int, head_dim: int = 64
) -> EncoderDecoderConfig:
    """Return a T5 1.0 shape (Raffel et al. 2020): ReLU, tied embeddings."""
    return EncoderDecoderConfig(
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=head_dim,
        num_heads=num_heads,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        mlp_activation="relu",
        tie_embeddings=True,
    )


def _t5_1_1(*, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int) -> EncoderDecoderConfig:
    """Return a T5 1.1 shape: gated GELU, untied embeddings, heads of 64."""
    return EncoderDecoderConfig(
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=64,
        num_heads=num_heads,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        mlp_activation="gated_gelu",
        tie_embeddings=False,
    )


PRESETS: dict[str, Callable[[], EncoderDecoderConfig]] = {
    "t5-small": partial(_t5_1_0, embed_dim=512, mlp_dim=2048, num_layers=6, num_heads=8),
    "t5-base": partial(_t5_1_0, embed_dim=768, mlp_dim=3072, num_layers=12, num_heads=12),
    "t5-large": partial(_t5_1_0, embed_dim=1024, mlp_dim=4096, num_layers=24, num_heads=16),
    "t5-3b": partial(_t5_1_0, embed_dim=1024, mlp_dim=16384, num_layers=24, num_heads=32, head_dim=128),
    "t5-11b": partial(_t5_1_0, embed_dim=1024, mlp_dim=65536, num_layers=24, num_heads=128, head_dim=128),
    "t5-1.1-small": partial(_t5_1_1, embed_dim=512, mlp_dim=1024, num_layers=8, num_heads=6),
    "t5-1.1-base": partial(_t5_1_1, embed_dim=768, mlp_dim=2048, num_layers=12, num_heads=12),
    "t5-1.1-large": partial(_t5_1_1, embed_dim=1024, mlp_dim=2816, num_layers=24, num_heads=16),
    "t5-1.1-xl": partial(_t5_1_1, embed_dim=2048, mlp_dim=5120, num_layers=24, num_heads=32),
    "t5-1.1-xxl": partial(_t5_1_1, embed_dim=4096, mlp_dim=10240, num_layers=24, num_heads=64),
}


def preset(name: str) -> EncoderDecoderConfig:
    """Return the configuration called ``name``; change fields with ``dataclasses.replace``.

    Raises:
      ConfigError: for an unknown name.
    """
    return lookup(PRESETS, name, kind="preset")()

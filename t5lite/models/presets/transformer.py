"""The Transformer of 2017."""

from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    LayerNorm,
    PlainMLP,
    SinusoidalPositions,
    XavierInitializer,
)


def _transformer(*, embed_dim: int, mlp_dim: int, num_heads: int) -> EncoderDecoderConfig:
    """The Transformer of 2017: post-norm, ReLU, sinusoidal positions, one tied table scaled by sqrt(d).

    Source: Vaswani et al. 2017, "Attention Is All You Need", table 3 (65M and 213M). The paper's shared
    vocabulary has "about 37000" tokens: 37,000 here, which makes 63M and 214M, so no one size gives both
    printed counts. LayerNorm's epsilon is 1e-6 as in tensor2tensor; attention has biases, which the paper
    leaves open.
    """
    return EncoderDecoderConfig(
        vocab_size=37_000,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=64,
        num_heads=num_heads,
        num_encoder_layers=6,
        num_decoder_layers=6,
        positions=SinusoidalPositions(),
        norm=LayerNorm(epsilon=1e-6),
        norm_placement="post",
        mlp=PlainMLP(activation="relu", bias=True),
        attention=AttentionConfig(scaled=True, biases="all"),
        tie_embeddings=True,
        embedding_scale=embed_dim**0.5,
        logit_scale=1.0,
        initializer=XavierInitializer(),
    )


PRESETS: dict[str, partial[EncoderDecoderConfig]] = {
    "transformer-base": partial(_transformer, embed_dim=512, mlp_dim=2048, num_heads=8),
    "transformer-big": partial(_transformer, embed_dim=1024, mlp_dim=4096, num_heads=16),
}
"""The two sizes of the paper."""

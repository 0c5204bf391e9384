"""Large decoder-only models of the T5 line's authors and of DeepMind: PaLM, LaMDA, Chinchilla."""

from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    GatedMLP,
    LayerNorm,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    T5Initializer,
)


def _palm(*, embed_dim: int, num_layers: int, num_heads: int) -> DecoderOnlyConfig:
    """PaLM: parallel blocks, one head of keys and values, SwiGLU, rotary positions, no biases.

    Source: Chowdhery et al. 2022, "PaLM: Scaling Language Modeling with Pathways", table 1 (8.63B, 62.50B,
    540.35B with 256,000 tokens; the last without the scales of the norms); embeddings are tied, N(0, 1), and
    logits scaled by embed_dim^-0.5. LayerNorm has a scale and no bias.
    """
    return DecoderOnlyConfig(
        vocab_size=256_000,
        embed_dim=embed_dim,
        mlp_dim=4 * embed_dim,
        head_dim=256,
        num_heads=num_heads,
        num_kv_heads=1,
        num_layers=num_layers,
        positions=RotaryPositions(),
        max_length=2048,
        norm=LayerNorm(epsilon=1e-6, bias=False),
        mlp=GatedMLP(activation="silu"),
        parallel_block=True,
        attention=AttentionConfig(scaled=True),
        tie_embeddings=True,
        logit_scale=None,
        initializer=T5Initializer(),
    )


def _lamda() -> DecoderOnlyConfig:
    """LaMDA 137B: T5's relative bias and gated GELU in a decoder.

    Source: Thoppilan et al. 2022, "LaMDA: Language Models for Dialog Applications", section 3: 64 layers, d
    8192, d_ff 65536, 128 heads of 128; 137B without the embeddings, which are 0.3B more. The paper does not
    say how norm, output and attention scale are made: they follow T5 1.0 (RMSNorm, tied, unscaled).
    """
    return DecoderOnlyConfig(
        vocab_size=32_000,
        embed_dim=8192,
        mlp_dim=65_536,
        head_dim=128,
        num_heads=128,
        num_layers=64,
        positions=RelativePositions(),
        norm=RMSNorm(epsilon=1e-6),
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(scaled=False),
        tie_embeddings=True,
        logit_scale=None,
        initializer=T5Initializer(),
    )


def _chinchilla() -> DecoderOnlyConfig:
    """Chinchilla 70B, with T5's relative bias for Transformer-XL's relative positions.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", table 4: 80 layers, 64
    heads of 128, d 8192, d_ff 4 x 8192; RMSNorm and 32,000 tokens as in Gopher (Rae et al. 2021).
    Transformer-XL's positions have a kernel of d x d in every layer, 5.4B parameters; without them 64.7B of
    the 70B remain. The papers leave open the activation (GELU here), biases (none) and tying (tied).
    """
    return DecoderOnlyConfig(
        vocab_size=32_000,
        embed_dim=8192,
        mlp_dim=32_768,
        head_dim=128,
        num_heads=64,
        num_layers=80,
        positions=RelativePositions(),
        mlp=PlainMLP(activation="gelu_tanh"),
        tie_embeddings=True,
    )


PRESETS: dict[str, partial[DecoderOnlyConfig]] = {
    "chinchilla-70b": partial(_chinchilla),
    "lamda-137b": partial(_lamda),
    "palm-8b": partial(_palm, embed_dim=4096, num_layers=32, num_heads=16),
    "palm-62b": partial(_palm, embed_dim=8192, num_layers=64, num_heads=32),
    "palm-540b": partial(_palm, embed_dim=18432, num_layers=118, num_heads=48),
}
"""The published sizes."""

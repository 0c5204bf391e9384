"""GPT-2, GPT-3 and OPT."""

from dataclasses import replace
from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    LayerNorm,
    LearnedPositions,
    NormalInitializer,
    PlainMLP,
)


def _gpt2(
    *, embed_dim: int, num_layers: int, head_dim: int = 64, max_length: int = 1024
) -> DecoderOnlyConfig:
    """GPT-2: learned positions, pre-norm LayerNorm, GELU (tanh), biases, tied embeddings.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 2; exact
    counts of the released checkpoints (the paper's 117M and 345M are miscounts that its repository
    corrects).
    """
    return DecoderOnlyConfig(
        vocab_size=50_257,
        embed_dim=embed_dim,
        mlp_dim=4 * embed_dim,
        head_dim=head_dim,
        num_heads=embed_dim // head_dim,
        num_layers=num_layers,
        positions=LearnedPositions(),
        max_length=max_length,
        norm=LayerNorm(epsilon=1e-5),
        mlp=PlainMLP(activation="gelu_tanh", bias=True),
        attention=AttentionConfig(scaled=True, biases="all"),
        tie_embeddings=True,
        logit_scale=1.0,
        initializer=NormalInitializer(scaled_outputs=True),
    )


def _gpt3(*, embed_dim: int, num_layers: int, head_dim: int) -> DecoderOnlyConfig:
    """GPT-3: GPT-2 with 2048 positions, with full attention in every layer.

    Source: Brown et al. 2020, "Language Models are Few-Shot Learners", tables 2.1 and D.1. Every second
    layer of the original has locally banded sparse attention, which changes no parameter and is not kept.
    Table 2.1's 24 heads of 128 for XL (here 16) and width of 5140 for 13B (5120) contradict the counts of
    table D.1.
    """
    return _gpt2(embed_dim=embed_dim, num_layers=num_layers, head_dim=head_dim, max_length=2048)


def _opt(*, embed_dim: int, num_layers: int, head_dim: int) -> DecoderOnlyConfig:
    """OPT: ReLU, learned positions from row 2 of their table, pre-norm LayerNorm, biases, tied embeddings.

    Source: Zhang et al. 2022, "OPT: Open Pre-trained Transformer Language Models", table 1; exact counts of
    the released checkpoints (facebook/opt-*).
    """
    return DecoderOnlyConfig(
        vocab_size=50_272,
        embed_dim=embed_dim,
        mlp_dim=4 * embed_dim,
        head_dim=head_dim,
        num_heads=embed_dim // head_dim,
        num_layers=num_layers,
        positions=LearnedPositions(offset=2),
        max_length=2048,
        norm=LayerNorm(epsilon=1e-5),
        mlp=PlainMLP(activation="relu", bias=True),
        attention=AttentionConfig(scaled=True, biases="all"),
        tie_embeddings=True,
        logit_scale=1.0,
        initializer=NormalInitializer(std=0.006, scaled_outputs=True),
    )


def _opt_350m() -> DecoderOnlyConfig:
    """OPT 350M: the one OPT with post-norm and a table of width 512, projected in and out.

    Source: Zhang et al. 2022, and the config.json of facebook/opt-350m (331M parameters).
    """
    return replace(_opt(embed_dim=1024, num_layers=24, head_dim=64), norm_placement="post", table_dim=512)


PRESETS: dict[str, partial[DecoderOnlyConfig]] = {
    "gpt2": partial(_gpt2, embed_dim=768, num_layers=12),
    "gpt2-medium": partial(_gpt2, embed_dim=1024, num_layers=24),
    "gpt2-large": partial(_gpt2, embed_dim=1280, num_layers=36),
    "gpt2-xl": partial(_gpt2, embed_dim=1600, num_layers=48),
    "gpt3-small": partial(_gpt3, embed_dim=768, num_layers=12, head_dim=64),
    "gpt3-medium": partial(_gpt3, embed_dim=1024, num_layers=24, head_dim=64),
    "gpt3-large": partial(_gpt3, embed_dim=1536, num_layers=24, head_dim=96),
    "gpt3-xl": partial(_gpt3, embed_dim=2048, num_layers=24, head_dim=128),
    "gpt3-2.7b": partial(_gpt3, embed_dim=2560, num_layers=32, head_dim=80),
    "gpt3-6.7b": partial(_gpt3, embed_dim=4096, num_layers=32, head_dim=128),
    "gpt3-13b": partial(_gpt3, embed_dim=5120, num_layers=40, head_dim=128),
    "gpt3-175b": partial(_gpt3, embed_dim=12288, num_layers=96, head_dim=128),
    "opt-125m": partial(_opt, embed_dim=768, num_layers=12, head_dim=64),
    "opt-350m": partial(_opt_350m),
    "opt-1.3b": partial(_opt, embed_dim=2048, num_layers=24, head_dim=64),
    "opt-2.7b": partial(_opt, embed_dim=2560, num_layers=32, head_dim=80),
    "opt-6.7b": partial(_opt, embed_dim=4096, num_layers=32, head_dim=128),
    "opt-13b": partial(_opt, embed_dim=5120, num_layers=40, head_dim=128),
    "opt-30b": partial(_opt, embed_dim=7168, num_layers=48, head_dim=128),
    "opt-66b": partial(_opt, embed_dim=9216, num_layers=64, head_dim=128),
    "opt-175b": partial(_opt, embed_dim=12288, num_layers=96, head_dim=128),
}
"""The published sizes."""

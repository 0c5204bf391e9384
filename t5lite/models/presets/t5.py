"""T5 and its relatives: 1.0, 1.1, LM-adapted, Flan, mT5, umT5, ByT5, UL2."""

from dataclasses import replace
from functools import partial

from t5lite.models.config import EncoderDecoderConfig, GatedMLP, PlainMLP, RelativePositions


def _t5_1_0(
    *, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int, head_dim: int = 64
) -> EncoderDecoderConfig:
    """T5 1.0: ReLU, tied embeddings, logits scaled by embed_dim^-0.5.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer", section 3.7; exact counts of the released checkpoints.
    """
    return EncoderDecoderConfig(
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=head_dim,
        num_heads=num_heads,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        mlp=PlainMLP(activation="relu"),
        tie_embeddings=True,
    )


_T5_1_1 = {
    "small": EncoderDecoderConfig(
        embed_dim=512, mlp_dim=1024, head_dim=64, num_heads=6, num_encoder_layers=8, num_decoder_layers=8
    ),
    "base": EncoderDecoderConfig(
        embed_dim=768, mlp_dim=2048, head_dim=64, num_heads=12, num_encoder_layers=12, num_decoder_layers=12
    ),
    "large": EncoderDecoderConfig(
        embed_dim=1024, mlp_dim=2816, head_dim=64, num_heads=16, num_encoder_layers=24, num_decoder_layers=24
    ),
    "xl": EncoderDecoderConfig(
        embed_dim=2048, mlp_dim=5120, head_dim=64, num_heads=32, num_encoder_layers=24, num_decoder_layers=24
    ),
    "xxl": EncoderDecoderConfig(
        embed_dim=4096, mlp_dim=10240, head_dim=64, num_heads=64, num_encoder_layers=24, num_decoder_layers=24
    ),
}
"""The five shapes that T5 1.1 shares with its LM-adapted, Flan, mT5 and umT5 descendants."""


def _t5_1_1(size: str) -> EncoderDecoderConfig:
    """T5 1.1: gated GELU, untied embeddings, unscaled logits, heads of 64.

    Source: the T5 repository's released_checkpoints.md and Shazeer 2020 ("GLU Variants Improve
    Transformer"); exact counts of the released checkpoints (google/t5-v1_1-* at Hugging Face).
    """
    return _T5_1_1[size]


def _lm_adapted(size: str) -> EncoderDecoderConfig:
    """T5 1.1 after 100,000 more steps of prefix language modelling; the shapes of T5 1.1.

    Source: Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning"; t5.1.1.lm100k.* in
    the T5 repository, google/t5-*-lm-adapt at Hugging Face.
    """
    return _T5_1_1[size]


def _flan_t5(size: str) -> EncoderDecoderConfig:
    """Flan-T5, the LM-adapted T5 1.1 tuned on instructions; the shapes of T5 1.1.

    Source: Chung et al. 2022, "Scaling Instruction-Finetuned Language Models".
    """
    return _T5_1_1[size]


def _mt5(size: str) -> EncoderDecoderConfig:
    """mT5: the shapes of T5 1.1 with a table of 250,112 rows.

    Source: Xue et al. 2021, "mT5: A Massively Multilingual Pre-trained Text-to-Text Transformer" (300M, 580M,
    1.2B, 3.7B, 13B).
    """
    return replace(_T5_1_1[size], vocab_size=250_112)


def _umt5(size: str) -> EncoderDecoderConfig:
    """umT5: mT5 with a relative bias of its own in every layer and a table of 256,384 rows.

    Source: Chung et al. 2023, "UniMax: Fairer and More Effective Language Sampling for Large-Scale
    Multilingual Pretraining"; the released config.json files (small, base, xl, xxl). Large was not released:
    its shape is mT5 large's.
    """
    return replace(_T5_1_1[size], vocab_size=256_384, positions=RelativePositions(per_layer=True))


def _byt5(
    *, embed_dim: int, mlp_dim: int, num_layers: tuple[int, int], num_heads: int
) -> EncoderDecoderConfig:
    """ByT5: T5 1.1 on bytes, with an encoder three times as deep as the decoder.

    Source: Xue et al. 2022, "ByT5: Towards a Token-Free Future with Pre-trained Byte-to-Byte Models", table 1
    (300M, 582M, 1.23B, 3.74B, 12.9B); 384 rows hold 3 special ids and 256 bytes, and room for sentinels.
    """
    return EncoderDecoderConfig(
        vocab_size=384,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=64,
        num_heads=num_heads,
        num_encoder_layers=num_layers[0],
        num_decoder_layers=num_layers[1],
    )


def _ul2() -> EncoderDecoderConfig:
    """UL2: SwiGLU, 16 heads of 256, tied embeddings.

    Source: Tay et al. 2022, "UL2: Unifying Language Learning Paradigms" (20B), and the config.json of
    google/ul2, which ties the embeddings; the paper does not say.
    """
    return EncoderDecoderConfig(
        embed_dim=4096,
        mlp_dim=16384,
        head_dim=256,
        num_heads=16,
        num_encoder_layers=32,
        num_decoder_layers=32,
        mlp=GatedMLP(activation="silu"),
        tie_embeddings=True,
    )


PRESETS: dict[str, partial[EncoderDecoderConfig]] = {
    "t5-small": partial(_t5_1_0, embed_dim=512, mlp_dim=2048, num_layers=6, num_heads=8),
    "t5-base": partial(_t5_1_0, embed_dim=768, mlp_dim=3072, num_layers=12, num_heads=12),
    "t5-large": partial(_t5_1_0, embed_dim=1024, mlp_dim=4096, num_layers=24, num_heads=16),
    "t5-3b": partial(_t5_1_0, embed_dim=1024, mlp_dim=16384, num_layers=24, num_heads=32, head_dim=128),
    "t5-11b": partial(_t5_1_0, embed_dim=1024, mlp_dim=65536, num_layers=24, num_heads=128, head_dim=128),
    "t5-1.1-small": partial(_t5_1_1, "small"),
    "t5-1.1-base": partial(_t5_1_1, "base"),
    "t5-1.1-large": partial(_t5_1_1, "large"),
    "t5-1.1-xl": partial(_t5_1_1, "xl"),
    "t5-1.1-xxl": partial(_t5_1_1, "xxl"),
    "t5-1.1-lm100k-small": partial(_lm_adapted, "small"),
    "t5-1.1-lm100k-base": partial(_lm_adapted, "base"),
    "t5-1.1-lm100k-large": partial(_lm_adapted, "large"),
    "t5-1.1-lm100k-xl": partial(_lm_adapted, "xl"),
    "t5-1.1-lm100k-xxl": partial(_lm_adapted, "xxl"),
    "flan-t5-small": partial(_flan_t5, "small"),
    "flan-t5-base": partial(_flan_t5, "base"),
    "flan-t5-large": partial(_flan_t5, "large"),
    "flan-t5-xl": partial(_flan_t5, "xl"),
    "flan-t5-xxl": partial(_flan_t5, "xxl"),
    "mt5-small": partial(_mt5, "small"),
    "mt5-base": partial(_mt5, "base"),
    "mt5-large": partial(_mt5, "large"),
    "mt5-xl": partial(_mt5, "xl"),
    "mt5-xxl": partial(_mt5, "xxl"),
    "umt5-small": partial(_umt5, "small"),
    "umt5-base": partial(_umt5, "base"),
    "umt5-large": partial(_umt5, "large"),
    "umt5-xl": partial(_umt5, "xl"),
    "umt5-xxl": partial(_umt5, "xxl"),
    "byt5-small": partial(_byt5, embed_dim=1472, mlp_dim=3584, num_layers=(12, 4), num_heads=6),
    "byt5-base": partial(_byt5, embed_dim=1536, mlp_dim=3968, num_layers=(18, 6), num_heads=12),
    "byt5-large": partial(_byt5, embed_dim=1536, mlp_dim=3840, num_layers=(36, 12), num_heads=16),
    "byt5-xl": partial(_byt5, embed_dim=2560, mlp_dim=6720, num_layers=(36, 12), num_heads=32),
    "byt5-xxl": partial(_byt5, embed_dim=4672, mlp_dim=12352, num_layers=(36, 12), num_heads=64),
    "ul2-20b": partial(_ul2),
}
"""The released shapes by name."""

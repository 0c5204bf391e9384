"""T5Gemma, and the text part of T5Gemma 2."""

from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    GatedMLP,
    LinearScaling,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
    RotaryScaling,
    StackSizes,
    Unscaled,
)

_UNSCALED = Unscaled()


def _t5gemma(*, encoder: str, decoder: str) -> EncoderDecoderConfig:
    """T5Gemma: Gemma 2's layers, windows and softcaps in an encoder and a decoder, a table for each.

    Source: Zhang et al. 2025, "Encoder-Decoder Gemma: Improving the Quality-Efficiency Trade-Off via
    Adaptation", table 1; exact counts of the released checkpoints (google/t5gemma-*). Encoder and decoder
    are of sizes of their own (9b-2b); the decoder starts with BOS, id 2.
    """
    num_encoder_layers, encoder_sizes = _SIZES[encoder]
    num_decoder_layers, sizes = _SIZES[decoder]
    return EncoderDecoderConfig(
        vocab_size=256_000,
        embed_dim=sizes.embed_dim,
        mlp_dim=sizes.mlp_dim,
        head_dim=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        num_encoder_layers=num_encoder_layers,
        num_decoder_layers=num_decoder_layers,
        encoder_sizes=None if encoder == decoder else encoder_sizes,
        separate_tables=True,
        start_id=2,
        max_length=8192,
        positions=RotaryPositions(),
        norm=RMSNorm(one_plus=True),
        norm_placement="around",
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(scaled=True, softcap=50.0, windows=(4096, None)),
        tie_embeddings=True,
        embedding_scale="sqrt_dim",
        logit_scale=1.0,
        logit_softcap=30.0,
        initializer=NormalInitializer(),
    )


def _sizes(
    embed_dim: int, mlp_dim: int, num_heads: int, head_dim: int, num_kv_heads: int | None = None
) -> StackSizes:
    return StackSizes(
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=head_dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
    )


def _t5gemma2(
    *, num_layers: int, sizes: StackSizes, window: int, scaling: RotaryScaling = _UNSCALED
) -> EncoderDecoderConfig:
    """T5Gemma 2, its text part: Gemma 3's layers in an encoder and a decoder with merged attention.

    Source: Zhang et al. 2025, "T5Gemma 2: Seeing, Reading, and Understanding Longer" (arXiv 2512.14856), and
    transformers' T5Gemma2ForConditionalGeneration. A decoder's layer has one softmax over its own keys and
    the encoder's, by the same kernels; one table serves both sides and the head. Every sixth layer sees
    everything, by wavelengths of base 1,000,000. Of the released checkpoints (google/t5gemma-2-*) the vision
    tower is left out, and with it the learned vector behind an image.
    """
    return EncoderDecoderConfig(
        vocab_size=262_144,
        embed_dim=sizes.embed_dim,
        mlp_dim=sizes.mlp_dim,
        head_dim=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        merged_attention=True,
        start_id=2,
        max_length=131_072,
        positions=RotaryPositions(base=1_000_000.0, local_base=10_000.0, scaling=scaling),
        norm=RMSNorm(one_plus=True),
        norm_placement="around",
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(
            scaled=True, qk_norm=True, windows=(*[window] * 5, None), split_windows=True
        ),
        tie_embeddings=True,
        embedding_scale="sqrt_dim",
        logit_scale=1.0,
        initializer=NormalInitializer(),
    )


_SIZES: dict[str, tuple[int, StackSizes]] = {
    "s": (8, _sizes(512, 1024, 8, 64)),
    "b": (12, _sizes(768, 2048, 12, 64)),
    "l": (24, _sizes(1024, 2816, 16, 64)),
    "ml": (26, _sizes(1152, 6912, 4, 256)),
    "xl": (24, _sizes(2048, 5120, 32, 64)),
    "2b": (26, _sizes(2304, 9216, 8, 256, 4)),
    "9b": (42, _sizes(3584, 14336, 16, 256, 8)),
}
"""Layers, and their sizes, of an encoder or a decoder: 2b and 9b are Gemma 2's, the others T5's."""

PRESETS: dict[str, partial[EncoderDecoderConfig]] = {
    **{f"t5gemma-{size}-{size}": partial(_t5gemma, encoder=size, decoder=size) for size in _SIZES},
    "t5gemma-9b-2b": partial(_t5gemma, encoder="9b", decoder="2b"),
    "t5gemma2-270m-270m": partial(_t5gemma2, num_layers=18, sizes=_sizes(640, 2048, 4, 256, 1), window=512),
    "t5gemma2-1b-1b": partial(_t5gemma2, num_layers=26, sizes=_sizes(1152, 6912, 4, 256, 1), window=512),
    "t5gemma2-4b-4b": partial(
        _t5gemma2,
        num_layers=34,
        sizes=_sizes(2560, 10240, 8, 256, 4),
        window=1024,
        scaling=LinearScaling(factor=8.0),
    ),
}
"""The released pairs, encoder first."""

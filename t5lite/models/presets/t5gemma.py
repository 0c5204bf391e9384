"""T5Gemma."""

from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    GatedMLP,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
    StackSizes,
)


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
}
"""The released pairs, encoder first."""

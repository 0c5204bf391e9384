"""ModernBERT."""

from functools import partial

from t5lite.models.config import (
    AttentionConfig,
    EncoderOnlyConfig,
    GatedMLP,
    LayerNorm,
    NormalInitializer,
    RotaryPositions,
)


def _modernbert(*, embed_dim: int, mlp_dim: int, num_layers: int) -> EncoderOnlyConfig:
    """ModernBERT: rotary positions, gated GELU, no biases, every third layer global and the others local.

    Source: Warner et al. 2024, "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder", table 4 and
    appendix A; exact counts of the released checkpoints, with their masked LM's head. Initial values are a
    normal distribution cut at two standard deviations, 0.02, of the residual outputs 0.02 / sqrt(2 layers);
    the masked LM's dense layer starts at 0.02 too, where transformers takes the residual outputs' deviation
    for it. The paper trains with dropout on the attention output alone; ``dropout_rate`` falls on all places.
    """
    return EncoderOnlyConfig(
        vocab_size=50_368,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=64,
        num_heads=embed_dim // 64,
        num_layers=num_layers,
        num_token_types=0,
        head_bias=False,
        label_transform=True,
        max_length=8192,
        positions=RotaryPositions(base=160_000.0, local_base=10_000.0),
        norm=LayerNorm(epsilon=1e-5, bias=False),
        norm_placement="pre",
        first_norm=False,
        mlp=GatedMLP(activation="gelu"),
        attention=AttentionConfig(scaled=True, windows=(None, 64, 64)),
        initializer=NormalInitializer(truncated=True, scaled_outputs=True),
    )


PRESETS: dict[str, partial[EncoderOnlyConfig]] = {
    "modernbert-base": partial(_modernbert, embed_dim=768, mlp_dim=1152, num_layers=22),
    "modernbert-large": partial(_modernbert, embed_dim=1024, mlp_dim=2624, num_layers=28),
}
"""The released sizes."""

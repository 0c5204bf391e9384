"""RoBERTa."""

from functools import partial

from t5lite.models.config import EncoderOnlyConfig, LayerNorm, LearnedPositions


def _roberta(*, embed_dim: int, num_layers: int) -> EncoderOnlyConfig:
    """RoBERTa: BERT without next sentences, of one token type, with GPT-2's tokens.

    Source: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach"; exact counts of the
    released checkpoints, with their masked LM's head. Two rows of the position table come before position 0:
    its vocabulary pads with token 1, and positions are counted from there.
    """
    return EncoderOnlyConfig(
        vocab_size=50_265,
        embed_dim=embed_dim,
        mlp_dim=4 * embed_dim,
        head_dim=64,
        num_heads=embed_dim // 64,
        num_layers=num_layers,
        num_token_types=1,
        positions=LearnedPositions(offset=2),
        norm=LayerNorm(epsilon=1e-5),
    )


PRESETS: dict[str, partial[EncoderOnlyConfig]] = {
    "roberta-base": partial(_roberta, embed_dim=768, num_layers=12),
    "roberta-large": partial(_roberta, embed_dim=1024, num_layers=24),
}
"""The released sizes."""

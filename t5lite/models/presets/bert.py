"""BERT."""

from functools import partial

from t5lite.models.config import EncoderOnlyConfig


def _bert(*, embed_dim: int, num_layers: int) -> EncoderOnlyConfig:
    """BERT, uncased, with both pretraining heads (masked LM, next sentence).

    Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers"; the four smaller
    sizes are of Turc et al. 2019, "Well-Read Students Learn Better". The published counts (4.4M, 11.3M,
    29.1M, 41.7M, 110.1M) include the pretraining heads; ``head="pooled"`` leaves the 109,482,240 parameters
    of a base without.
    """
    return EncoderOnlyConfig(
        vocab_size=30_522,
        embed_dim=embed_dim,
        mlp_dim=4 * embed_dim,
        head_dim=64,
        num_heads=embed_dim // 64,
        num_layers=num_layers,
        head="pretraining",
    )


PRESETS: dict[str, partial[EncoderOnlyConfig]] = {
    "bert-tiny": partial(_bert, embed_dim=128, num_layers=2),
    "bert-mini": partial(_bert, embed_dim=256, num_layers=4),
    "bert-small": partial(_bert, embed_dim=512, num_layers=4),
    "bert-medium": partial(_bert, embed_dim=512, num_layers=8),
    "bert-base": partial(_bert, embed_dim=768, num_layers=12),
    "bert-large": partial(_bert, embed_dim=1024, num_layers=24),
}
"""The released uncased sizes."""

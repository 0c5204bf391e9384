"""Models of a size for a laptop, which several recipes train; change one by ``dataclasses.replace``."""

from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer

LAPTOP_T5 = EncoderDecoderConfig(
    vocab_size=2176,
    embed_dim=128,
    mlp_dim=256,
    head_dim=64,
    num_heads=2,
    num_encoder_layers=2,
    num_decoder_layers=2,
)
"""T5 1.1, for a vocabulary of 2,048 pieces and 100 sentinels: 1.3M parameters."""
LAPTOP_BERT = EncoderOnlyConfig(
    vocab_size=2176,
    embed_dim=128,
    mlp_dim=512,
    head_dim=64,
    num_heads=2,
    num_layers=3,
    max_length=128,
    initializer=NormalInitializer(std=0.05),
)
"""BERT with the head of masked LM: 0.9M parameters."""

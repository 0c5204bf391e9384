"""Models of a size for a laptop, which recipes share, for a vocabulary of 2,048 pieces and 100 sentinels.

Change one by ``dataclasses.replace``.
"""

from dataclasses import replace

from t5lite.models.config import AttentionConfig, EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer
from t5lite.models.presets import preset

LAPTOP_T5 = EncoderDecoderConfig(
    vocab_size=2176,
    embed_dim=128,
    mlp_dim=256,
    head_dim=64,
    num_heads=2,
    num_encoder_layers=2,
    num_decoder_layers=2,
)
"""T5 1.1: 1.3M parameters."""
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
LAPTOP_GPT = replace(
    preset("gpt2"), vocab_size=2176, embed_dim=128, mlp_dim=512, num_heads=2, num_layers=3, max_length=256
)
"""GPT-2's layers: 0.9M parameters."""
LAPTOP_MODERNBERT = replace(
    preset("modernbert-base"),
    vocab_size=2176,
    embed_dim=128,
    mlp_dim=192,
    num_heads=2,
    num_layers=4,
    max_length=128,
    attention=AttentionConfig(scaled=True, windows=(None, 16, 16)),
    head="masked_lm",
)
"""ModernBERT with the head of masked LM: 0.9M parameters."""

"""A tiny model of each family, with the choices that set the family apart, and batches for all of them."""

from typing import Any

import numpy as np

from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig

VOCAB_SIZE = 64
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "embed_dim": 16,
    "mlp_dim": 32,
    "head_dim": 4,
    "num_heads": 4,
    "max_length": 16,
}
_STACKS: dict[str, Any] = {**_SHAPE, "num_encoder_layers": 2, "num_decoder_layers": 2}
_STACK: dict[str, Any] = {**_SHAPE, "num_layers": 2}
_GPT: dict[str, Any] = {"norm": "layer", "biases": True, "positions": "learned", "tie_embeddings": True}

FAMILIES: dict[str, ModelConfig] = {
    "t5-1.0": EncoderDecoderConfig(**_STACKS, mlp_activation="relu", tie_embeddings=True),
    "t5-1.1": EncoderDecoderConfig(**_STACKS),
    "umt5": EncoderDecoderConfig(**_STACKS, positions="relative_per_layer"),
    "transformer-2017": EncoderDecoderConfig(
        **_STACKS,
        positions="sinusoidal",
        norm="layer",
        norm_placement="post",
        mlp_activation="relu",
        biases=True,
        scale_attention=True,
        tie_embeddings=True,
        embedding_scale=4.0,
        logit_scale=1.0,
        initializer="xavier",
    ),
    "bert": EncoderOnlyConfig(**_STACK, head="pretraining", initializer_std=0.1),
    "gpt2": DecoderOnlyConfig(**_STACK, **_GPT, mlp_activation="gelu_tanh", initializer="scaled_normal"),
    "opt-350m": DecoderOnlyConfig(
        **_STACK, **_GPT, mlp_activation="relu", norm_placement="post", table_dim=8, position_offset=2
    ),
    "palm": DecoderOnlyConfig(**_STACK, parallel_block=True, num_kv_heads=1, tie_embeddings=True),
    "lamda": DecoderOnlyConfig(**_STACK, positions="relative", mlp_activation="gated_gelu"),
    "llama": DecoderOnlyConfig(**_STACK, num_kv_heads=2),
    "multi-query": DecoderOnlyConfig(**_STACK, **_GPT, num_kv_heads=1, mlp_activation="gelu"),
}


def make_batch(config: ModelConfig, *, rows: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch for the model: padded rows of unequal weight, and whatever its heads are trained on."""
    rng = np.random.default_rng(seed)

    def tokens(length: int) -> np.ndarray:
        return rng.integers(2, VOCAB_SIZE, (rows, length)).astype(np.int32)

    def segments(length: int) -> np.ndarray:
        return (np.arange(length)[None] < rng.integers(4, length + 1, (rows, 1))).astype(np.int32)

    batch: dict[str, np.ndarray] = {}
    if config.architecture != "decoder_only":
        batch |= {"encoder_input_tokens": tokens(12), "encoder_segment_ids": segments(12)}
    if config.architecture == "encoder_only":
        asked = (rng.random((rows, 12)) < 0.3) * batch["encoder_segment_ids"]
        batch |= {
            "encoder_target_tokens": tokens(12),
            "encoder_loss_weights": asked.astype(np.float32),
            "encoder_token_types": (np.arange(12)[None] >= np.full((rows, 1), 6)).astype(np.int32),
            "sequence_labels": rng.integers(0, 2, rows).astype(np.int32),
        }
    else:
        decoder_segments = segments(9)
        batch |= {
            "decoder_input_tokens": tokens(9),
            "decoder_target_tokens": tokens(9),
            "decoder_loss_weights": decoder_segments.astype(np.float32),
            "decoder_segment_ids": decoder_segments,
        }
    return batch

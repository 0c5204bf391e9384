"""Each family's preset shrunk to a tiny model, all else as published, and batches for all of them."""

import dataclasses
from typing import Any

import numpy as np

from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Llama3Scaling,
    ModelConfig,
    RotaryPositions,
    StackSizes,
)
from t5lite.models.presets import preset

VOCAB_SIZE = 64


def _shrunk(name: str, **changes: Any) -> ModelConfig:
    """Return the preset with small sizes; only what follows from a size changes with it."""
    config = preset(name)
    sizes: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "embed_dim": 16,
        "mlp_dim": 32,
        "head_dim": 4,
        "num_heads": 4,
        "max_length": 16,
    }
    if isinstance(config, EncoderDecoderConfig):
        # ByT5's decoder is shallower than its encoder.
        deeper = config.num_encoder_layers > config.num_decoder_layers
        sizes |= {"num_encoder_layers": 2, "num_decoder_layers": 1 if deeper else 2}
        if config.encoder_sizes is not None:
            sizes["encoder_sizes"] = StackSizes(
                embed_dim=24, mlp_dim=40, head_dim=6, num_heads=8, num_kv_heads=4
            )
    else:
        sizes["num_layers"] = 2
    if config.num_kv_heads not in (None, 1):
        sizes["num_kv_heads"] = 2
    if config.table_dim is not None:
        sizes["table_dim"] = 8
    if config.embedding_scale == config.embed_dim**0.5:
        sizes["embedding_scale"] = 4.0
    windows = tuple(window and 3 for window in config.attention.windows)
    sizes["attention"] = dataclasses.replace(config.attention, windows=windows)
    return dataclasses.replace(config, **sizes | changes)


FAMILIES: dict[str, ModelConfig] = {
    "t5-1.0": _shrunk("t5-small"),
    "t5-1.1": _shrunk("t5-1.1-small"),
    "mt5": _shrunk("mt5-small"),
    "umt5": _shrunk("umt5-small"),
    "byt5": _shrunk("byt5-small"),
    "ul2": _shrunk("ul2-20b"),
    "t5gemma": _shrunk("t5gemma-9b-2b", num_encoder_layers=3, num_decoder_layers=2),
    "t5gemma2": _shrunk(
        "t5gemma2-270m-270m",
        num_encoder_layers=3,
        num_decoder_layers=3,
        attention=AttentionConfig(scaled=True, qk_norm=True, windows=(4, None), split_windows=True),
    ),
    "t5-efficient": _shrunk("t5-efficient-tiny"),
    "transformer-2017": _shrunk("transformer-base"),
    "bert": _shrunk("bert-base"),
    "bert-masked-lm": _shrunk("bert-base", head="masked_lm"),
    "roberta": _shrunk("roberta-base"),
    "modernbert": _shrunk("modernbert-base", num_layers=5),
    "gpt2": _shrunk("gpt2"),
    "gpt3": _shrunk("gpt3-6.7b"),
    "opt": _shrunk("opt-125m"),
    "opt-350m": _shrunk("opt-350m"),
    "chinchilla": _shrunk("chinchilla-70b"),
    "lamda": _shrunk("lamda-137b"),
    "palm": _shrunk("palm-8b"),
    "llama2": _shrunk("llama2-7b"),
    "llama3": _shrunk("llama3-8b"),
    "llama3.1": _shrunk(
        "llama3.1-8b",
        positions=RotaryPositions(base=100.0, scaling=Llama3Scaling(factor=4.0, original_max_length=32)),
    ),
    "mistral": _shrunk("mistral-7b", attention=AttentionConfig(scaled=True, windows=(4,))),
    "qwen2": _shrunk("qwen2-7b"),
    "qwen3": _shrunk("qwen3-8b"),
}

TRAINED_AS: dict[str, str] = {
    name: next(first for first in FAMILIES if FAMILIES[first] == config) for name, config in FAMILIES.items()
}
"""The first family that is the same model at this size: mT5 is T5 1.1, T5-Efficient 1.0, and GPT-3 GPT-2."""


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
    if isinstance(config, EncoderOnlyConfig):
        second = 6 if config.num_token_types > 1 else 12
        asked = (rng.random((rows, 12)) < 0.3) * batch["encoder_segment_ids"]
        batch |= {
            "encoder_target_tokens": tokens(12),
            "encoder_loss_weights": asked.astype(np.float32),
            "encoder_token_types": (np.arange(12)[None] >= np.full((rows, 1), second)).astype(np.int32),
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

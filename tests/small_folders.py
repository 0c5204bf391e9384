"""Small folders as save_pretrained writes them, one of each kind, and changes to their files."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from t5lite.interop.huggingface import export_folder, state_dict_from_params
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    NormalInitializer,
    PlainMLP,
)
from t5lite.models.functional import build

SIZES: dict[str, Any] = {"vocab_size": 12, "embed_dim": 8, "mlp_dim": 10, "head_dim": 4, "num_heads": 2}
BERT: dict[str, Any] = {**SIZES, "num_layers": 2, "max_length": 6, "dropout_rate": 0.1}
GPT2: dict[str, Any] = {
    **SIZES,
    "num_layers": 2,
    "positions": LearnedPositions(),
    "max_length": 6,
    "norm": LayerNorm(epsilon=1e-5),
    "mlp": PlainMLP(activation="gelu_tanh", bias=True),
    "attention": AttentionConfig(scaled=True, biases="all"),
    "tie_embeddings": True,
    "initializer": NormalInitializer(scaled_outputs=True),
}
CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2, dropout_rate=0.1),
    "bert": EncoderOnlyConfig(**BERT, head="pretraining"),
    "classifier": EncoderOnlyConfig(**BERT, head="sequence_classification", num_labels=3),
    "gpt2": DecoderOnlyConfig(**GPT2, dropout_rate=0.1),
    "llama": DecoderOnlyConfig(**SIZES, num_layers=2),
}


def make_params(config: ModelConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(config).abstract_params
    )


@functools.cache
def state_dict(name: str) -> dict[str, np.ndarray]:
    return state_dict_from_params(make_params(CONFIGS[name]), CONFIGS[name])


def exported(name: str, folder: Path) -> Any:
    params = make_params(CONFIGS[name])
    export_folder(params, CONFIGS[name], folder)
    return params


def change_json(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v != "absent"}))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)

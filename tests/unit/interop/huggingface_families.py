"""A tiny model of every family, and folders of them that are changed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from t5lite.interop.huggingface import (
    export_folder,
)
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    GatedMLP,
    Head,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    StackSizes,
    T5Initializer,
)
from t5lite.models.functional import build
from t5lite.models.presets import preset
from tests.small_folders import GPT2, SIZES

HEADS: tuple[Head, ...] = (
    "hidden", "pooled", "masked_lm", "pretraining", "sequence_classification", "token_classification",
    "sequence_regression", "span_extraction",
)  # fmt: skip


def _t5_encoder(*, per_layer: bool) -> EncoderOnlyConfig:
    return EncoderOnlyConfig(
        **SIZES,
        num_layers=2,
        positions=RelativePositions(per_layer=per_layer),
        head="hidden",
        num_token_types=0,
        norm=RMSNorm(epsilon=1e-6),
        norm_placement="pre",
        embedding_norm=False,
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(),
        initializer=T5Initializer(),
    )


CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2),
    "umt5": EncoderDecoderConfig(
        **SIZES, num_encoder_layers=1, num_decoder_layers=2, positions=RelativePositions(per_layer=True)
    ),
    "t5_encoder": _t5_encoder(per_layer=False),
    "t5_encoder-per_layer": _t5_encoder(per_layer=True),
    "t5gemma": dataclasses.replace(
        preset("t5gemma-9b-2b"),
        **SIZES,
        num_kv_heads=1,
        num_encoder_layers=3,
        num_decoder_layers=2,
        encoder_sizes=StackSizes(embed_dim=6, mlp_dim=8, head_dim=2, num_heads=3),
        attention=AttentionConfig(scaled=True, scale_dim=9, windows=(None, 3)),
        logit_softcap=None,
    ),
    "t5gemma2": dataclasses.replace(
        preset("t5gemma2-4b-4b"),
        **SIZES,
        num_kv_heads=1,
        num_encoder_layers=3,
        num_decoder_layers=2,
        attention=AttentionConfig(
            scaled=True, scale_dim=9, qk_norm=True, windows=(None, 3), split_windows=True
        ),
        logit_softcap=4.0,
    ),
    "gpt2": DecoderOnlyConfig(**GPT2),
    "opt": DecoderOnlyConfig(
        **{**GPT2, "positions": LearnedPositions(offset=2), "mlp": PlainMLP(activation="relu", bias=True)}
    ),
    "llama": DecoderOnlyConfig(**SIZES, num_layers=2, num_kv_heads=1, positions=RotaryPositions(base=500.0)),
    **{
        f"roberta-{head}": EncoderOnlyConfig(
            **SIZES,
            num_layers=2,
            max_length=6,
            num_token_types=1,
            positions=LearnedPositions(offset=3),
            head=head,
        )
        for head in HEADS
        if head != "pretraining"
    },
    "modernbert": dataclasses.replace(preset("modernbert-base"), **SIZES, num_layers=6, max_length=6),
    "modernbert-hidden": dataclasses.replace(
        preset("modernbert-base"),
        **SIZES,
        head="hidden",
        num_layers=5,
        positions=RotaryPositions(base=500.0),
        norm=LayerNorm(epsilon=1e-5),
        mlp=GatedMLP(activation="silu", bias=True),
        attention=AttentionConfig(scaled=True, biases="all", windows=(3, None, None, 3)),
    ),
    **{
        f"modernbert-{head}": dataclasses.replace(
            preset("modernbert-base"), **SIZES, num_layers=6, max_length=6, head=head
        )
        for head in ("token_classification", "span_extraction")
    },
    "llama-3.1": DecoderOnlyConfig(
        **SIZES,
        num_layers=2,
        positions=RotaryPositions(scaling=Llama3Scaling(factor=4.0, original_max_length=32)),
    ),
    "llama-linear": DecoderOnlyConfig(
        **SIZES, num_layers=2, positions=RotaryPositions(scaling=LinearScaling(factor=3.0))
    ),
    "mistral": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, windows=(4,)), num_kv_heads=1
    ),
    "qwen2": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, biases="qkv"), num_kv_heads=1
    ),
    "qwen3": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, qk_norm=True), num_kv_heads=1
    ),
    **{f"bert-{head}": EncoderOnlyConfig(**SIZES, num_layers=2, max_length=6, head=head) for head in HEADS},
}


def make_params(config: ModelConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(config).abstract_params
    )


def exported(name: str, folder: Path) -> tuple[ModelConfig, Any]:
    params = make_params(CONFIGS[name])
    export_folder(params, CONFIGS[name], folder)
    return CONFIGS[name], params


def change_json(folder: Path, **changes: Any) -> None:
    """Change values, within the objects that have some of their own (a side of a T5Gemma)."""
    values = json.loads((folder / "config.json").read_text())
    for key, change in changes.items():
        within = isinstance(change, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | change if within else change
    (folder / "config.json").write_text(json.dumps(values))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)

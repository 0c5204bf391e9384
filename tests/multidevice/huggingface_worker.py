"""Imports a folder onto several meshes of eight devices and exports it from there; prints JSON."""

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    PlainMLP,
)
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner

CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(
        vocab_size=64,
        embed_dim=16,
        mlp_dim=32,
        head_dim=4,
        num_heads=8,
        num_encoder_layers=2,
        num_decoder_layers=3,
    ),
    "gpt2": DecoderOnlyConfig(
        vocab_size=61,
        embed_dim=32,
        mlp_dim=60,
        head_dim=4,
        num_heads=8,
        num_layers=3,
        positions=LearnedPositions(),
        max_length=16,
        norm=LayerNorm(epsilon=1e-5),
        mlp=PlainMLP(activation="gelu_tanh", bias=True),
        attention=AttentionConfig(scaled=True, biases="all"),
        tie_embeddings=True,
    ),
}
MESHES = {
    "data 8": PartitioningConfig(style="data_parallel"),
    "fsdp 8": PartitioningConfig(),
    "tensor 8": PartitioningConfig(fsdp=1, tensor=8, style="tensor_parallel"),
    "fsdp 2 x tensor 4": PartitioningConfig(fsdp=2, tensor=4, style="tensor_parallel"),
}


def make_params(config: ModelConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(config).abstract_params
    )


def largest_shard(params: Any) -> int:
    """Return the bytes of the parameters on the device that holds the most."""
    sums: dict[int, int] = {}
    for leaf in jax.tree.leaves(params):
        for shard in leaf.addressable_shards:
            sums[shard.device.id] = sums.get(shard.device.id, 0) + shard.data.nbytes
    return max(sums.values())


def measure(config: ModelConfig, folder: Path) -> dict[str, Any]:
    params = make_params(config)
    export_folder(params, config, folder / "host")
    weights = (folder / "host/model.safetensors").read_bytes()
    results: dict[str, Any] = {}
    for mesh, partitioning in MESHES.items():
        partitioner = make_partitioner(partitioning)
        _, sharded = import_folder(folder / "host", partitioner=partitioner)
        model = build(config)
        shardings = partitioner.tree_shardings(model.logical_axes, model.abstract_params)
        same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), sharded, params)
        placed = jax.tree.map(
            lambda leaf, s: leaf.sharding.is_equivalent_to(s, leaf.ndim), sharded, shardings
        )
        export_folder(sharded, config, folder / mesh)
        results[mesh] = {
            "same": all(jax.tree.leaves(same)),
            "placed": all(jax.tree.leaves(placed)),
            "share": largest_shard(sharded) / sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
            "exported": (folder / mesh / "model.safetensors").read_bytes() == weights,
        }
    return results


def indivisible(folder: Path) -> str:
    """Return the message for a model whose heads the mesh does not divide."""
    config = EncoderDecoderConfig(
        vocab_size=64,
        embed_dim=16,
        mlp_dim=32,
        head_dim=4,
        num_heads=4,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    export_folder(make_params(config), config, folder / "odd")
    try:
        import_folder(folder / "odd", partitioner=make_partitioner(MESHES["tensor 8"]))
    except ConfigError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found: dict[str, Any] = {key: measure(config, Path(name) / key) for key, config in CONFIGS.items()}
        found["indivisible"] = indivisible(Path(name))
    print(json.dumps(found))

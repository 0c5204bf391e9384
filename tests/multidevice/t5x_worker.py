"""Imports T5X checkpoints onto meshes of eight devices; prints what arrived, compared with NumPy, as JSON.

A process of its own, because the number of CPU devices is fixed when JAX starts:
``XLA_FLAGS=--xla_force_host_platform_device_count=8 python t5x_worker.py``.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from t5lite.interop import arrival
from t5lite.interop.t5x import import_folder
from t5lite.models.config import EncoderDecoderConfig, RelativePositions
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from tests.t5x_writer import random_params, target_of, write_msgpack_checkpoint, write_orbax_checkpoint

MESHES = {
    "data 8": PartitioningConfig(fsdp=8, style="data_parallel"),
    "fsdp 8": PartitioningConfig(fsdp=8, style="fsdp"),
    "tensor 8": PartitioningConfig(fsdp=1, tensor=8, style="tensor_parallel"),
    "replica 2 x fsdp 2 x tensor 2": PartitioningConfig(replica=2, fsdp=2, tensor=2, style="tensor_parallel"),
}
CONFIG = EncoderDecoderConfig(
    vocab_size=64,
    embed_dim=32,
    mlp_dim=48,
    head_dim=6,
    num_heads=8,
    num_encoder_layers=2,
    num_decoder_layers=3,
    positions=RelativePositions(per_layer=True),
)


def arrived(path, params, partitioner):
    """Compare with what was written: the values, the layout, and the share of one device."""
    config, found = import_folder(path, partitioner=partitioner)
    model = build(config)
    shardings = partitioner.tree_shardings(model.logical_axes, model.abstract_params)
    leaves = jax.tree.leaves(found)
    return {
        "config": config == CONFIG,
        "values": all(jax.tree.leaves(jax.tree.map(np.array_equal, found, params))),
        "laid out": all(jax.tree.leaves(jax.tree.map(lambda x, s: x.sharding == s, found, shardings))),
        "bytes": sum(leaf.nbytes for leaf in leaves),
        "bytes per device": sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves),
    }


def main():
    assert jax.device_count() == 8, jax.devices()
    params = random_params(CONFIG)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for scanned, name in ((False, "unscanned"), (True, "scanned")):
            target = target_of(params, scanned=scanned)
            directory = Path(folder)
            paths[f"inline {name}"] = write_msgpack_checkpoint(directory / f"i{name}", target)
            paths[f"zarr {name}"] = write_msgpack_checkpoint(directory / f"z{name}", target, stored="kernel")
            paths[f"orbax {name}"] = write_orbax_checkpoint(directory / f"o{name}", target)
        for mesh, partitioning in MESHES.items():
            partitioner = make_partitioner(partitioning)
            chosen = paths if partitioning.fsdp == 2 else {"zarr scanned": paths["zarr scanned"]}
            for kind, path in chosen.items():
                # 300 bytes a piece: every leaf arrives in several.
                with mock.patch.object(arrival, "_PIECE_BYTES", 300):
                    results[f"{kind}, {mesh}"] = arrived(path, params, partitioner)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()

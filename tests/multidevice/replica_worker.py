"""Flips a bit of single replicas on a mesh of 2 x 4 devices; prints what is said of each case as JSON."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from t5lite.core.errors import TransientError
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.replicas import ReplicaCheck

SPECS = {
    "scale": ((6,), jnp.float32, PartitionSpec()),
    "step": ((), jnp.int32, PartitionSpec()),
    "layers": ((3, 8, 2), jnp.bfloat16, PartitionSpec(None, "fsdp", None)),
    "whole": ((8, 2), jnp.float32, PartitionSpec(("replica", "fsdp"), None)),
}
CASES = {
    "nothing": [],
    "one of eight": [("scale", 3)],
    "two of eight": [("scale", 3), ("scale", 7)],
    "a scalar": [("step", 5)],
    "one of a pair": [("layers", 6)],
    "two arrays": [("scale", 1), ("layers", 1)],
    "what has no replica": [("whole", 4)],
}


def flipped(leaf, device):
    """The array with its last bit pattern changed on one device."""
    buffers = []
    for shard in leaf.addressable_shards:
        data = np.array(shard.data)
        if shard.device.id == device:
            data.reshape(-1).view(np.uint8)[0] ^= 1
        buffers.append(jax.device_put(data, shard.device))
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, buffers)


def main():
    assert jax.device_count() == 8, jax.devices()
    mesh = make_partitioner(PartitioningConfig(replica=2, fsdp=4)).mesh
    tree = {
        name: jax.device_put(jnp.full(shape, 3, dtype), NamedSharding(mesh, spec))
        for name, (shape, dtype, spec) in SPECS.items()
    }
    check = ReplicaCheck(tree, every_steps=1)
    results = {"replicated": check.num_replicated}
    for case, flips in CASES.items():
        changed = dict(tree)
        for name, device in flips:
            changed[name] = flipped(changed[name], device)
        try:
            check.check(changed, 7)
            results[case] = None
        except TransientError as error:
            results[case] = str(error)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()

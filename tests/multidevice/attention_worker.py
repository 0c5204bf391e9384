"""Runs the TPU kernel, interpreted, on a mesh of eight devices and on one; prints the differences as JSON."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.models.kernels import tiling
from t5lite.models.kernels.sharded import sharded_flash_attention
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.models.layers.position import RelativeBias
from t5lite.partitioning import PartitioningConfig, make_partitioner

BATCH, LENGTH, HEADS, HEAD_DIM = 4, 256, 4, 16
NAMES = ("out", "q", "k", "v", "table")
MESHES = {
    "fsdp 2 x tensor 4": PartitioningConfig(fsdp=2, tensor=4, style="tensor_parallel"),
    "fsdp 2 x sequence 2 x tensor 2": PartitioningConfig(
        fsdp=2, sequence=2, tensor=2, style="sequence_parallel"
    ),
}
KINDS = {
    "encoder": {},
    "causal": {"causal": True},
    "shared heads in a window": {"causal": True, "kv_heads": 2, "window": (100, 0), "softcap": 2.0},
}


def make_arrays(kv_heads):
    rng = np.random.default_rng(0)
    q, dout, k, v = (
        jnp.asarray(rng.standard_normal((BATCH, LENGTH, heads, HEAD_DIM)), jnp.float32)
        for heads in (HEADS, HEADS, kv_heads, kv_heads)
    )
    ids = 1 + (np.arange(LENGTH)[None] > rng.integers(60, 200, (BATCH, 1)))
    ids[:, 240:] = 0
    table = jnp.asarray(rng.standard_normal((32, HEADS)), jnp.float32)
    return (q / 4, k, v, table), jnp.asarray(ids, jnp.int32), dout


def results(attention, ids, dout, arrays, *, causal=False, window=None, softcap=None):
    def out(q, k, v, table):
        mask = AttentionMask(causal=causal, query_segment_ids_BL=ids, key_segment_ids_BM=ids, window=window)
        return attention(q, k, v, mask, RelativeBias(table, not causal, 128), softcap)

    value, pullback = jax.vjp(out, *arrays)
    return value, *pullback(dout)


def kernel(q, k, v, mask, bias, softcap):
    return sharded_flash_attention(q, k, v, mask=mask, bias=bias, softcap=softcap, interpret=True)


def reference(q, k, v, mask, bias, softcap):
    return dot_product_attention(q, k, v, mask=mask, bias_HLM=bias.array(LENGTH, LENGTH), softcap=softcap)


def main():
    tiling._LONGEST_TILE = 128  # an interpreter takes long for larger ones
    differences = {}
    for kind, options in KINDS.items():
        options = {"kv_heads": HEADS} | options
        arrays, ids, dout = make_arrays(options.pop("kv_heads"))
        run = functools.partial(results, **options)
        expected = jax.jit(functools.partial(run, reference, ids, dout))(arrays)
        for name, config in MESHES.items():
            partitioner = make_partitioner(config)
            with partitioner.activate():
                got = jax.jit(functools.partial(run, kernel, ids, dout))(arrays)
            differences[f"{name}, {kind}"] = {
                each: float(np.abs(a - b).max() / np.abs(b).max())
                for each, a, b in zip(NAMES, got, expected, strict=True)
            }
    json.dump(differences, sys.stdout)


if __name__ == "__main__":
    main()

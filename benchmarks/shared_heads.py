"""Memory and roofline time of Llama 3's attention on a TPU: the kernel, in a window too, and the reference.

32 query heads of 128 columns share 8 heads of keys in one causal row of each length, in bfloat16. Forward and
backward pass are compiled by the real compiler for one chip. No TPU is needed, but libtpu is; nothing is run.

    python benchmarks/shared_heads.py [--chip v5e] [--lengths 4096,8192] [--window 1024]

Prints a table of docs/attention.md.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
from attention import SMALLEST, Cost, bound, cost_of

from t5lite.models.kernels.attention import attention
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.planning.hardware.chips import CHIPS, GIB, Chip
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology

NUM_HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
LENGTHS = (2048, 4096, 8192, 16_384)


def measure(length: int, backend: str, window: int | None, partitioner: Partitioner, chip: Chip) -> Cost:
    """Compile the op's gradients for one row; a window is of keys up to the query, its own included."""
    mask = AttentionMask(causal=True, window=None if window is None else (window - 1, 0))

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(attention(q, k, v, backend=backend, mask=mask).astype(jnp.float32) ** 2)

    def shaped(heads: int) -> Any:
        shape = (1, length, heads, HEAD_DIM)
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=partitioner.replicated)

    arguments = (shaped(NUM_HEADS), shaped(KV_HEADS), shaped(KV_HEADS))
    return cost_of(jax.grad(loss, argnums=(0, 1, 2)), arguments, partitioner, chip)


def main() -> None:
    """Compile for every length and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", default="v5e", choices=[name for name in CHIPS if name.startswith("v")])
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--window", type=int, default=1024)
    arguments = parser.parse_args()
    chip = CHIPS[arguments.chip]
    topology = parse_topology(f"{arguments.chip}:{SMALLEST[chip.torus_dims]}")
    partitioner = make_partitioner(PartitioningConfig(), compile_only_devices(topology)[:1])
    print(f"{arguments.chip}, {NUM_HEADS} heads of {HEAD_DIM} over {KV_HEADS}, one causal row, bfloat16")
    print(
        "| length | reference: GiB | bound, ms | kernel: GiB | bound, ms "
        f"| kernel, window {arguments.window:,}: GiB | bound, ms |"
    )
    print("|" + "---:|" * 7, flush=True)
    for length in map(int, arguments.lengths.split(",")):
        cells = [f"{length:,}"]
        for backend, window in (("reference", None), ("flash", None), ("flash", arguments.window)):
            cost = measure(length, backend, window, partitioner, chip)
            fits = "" if cost.fits else " (does not fit)"
            cells += [f"{cost.needed_bytes / GIB:.2f}{fits}", f"{1e3 * bound(cost):.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

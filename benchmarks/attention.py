"""Memory and roofline time of a long encoder's self-attention on a TPU: the kernel beside the reference op.

One attention layer of T5 large (projections, relative bias, padding mask; forward and backward pass, in
bfloat16) is compiled by the real compiler for one chip, for 32,768 tokens in rows of each length. No TPU is
needed, but libtpu is; nothing is run.

    python benchmarks/attention.py [--chip v5e] [--lengths 512,1024]

Prints the table of docs/attention.md.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import AttentionBackend, Execution, RelativePositions, TransformerConfig
from t5lite.models.layers.attention import Attention
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.making import Making
from t5lite.models.layers.position import RelativePositionBias
from t5lite.models.presets import preset
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.planning.compiled import hlo, hlo_costs
from t5lite.planning.compiled.buffers import occupancy
from t5lite.planning.compiled.compile import compile_with_notes
from t5lite.planning.compiled.traffic import main_memory_bytes
from t5lite.planning.hardware.chips import CHIPS, GIB, Chip
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology

TOKENS = 32_768
LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768)
SMALLEST = {2: "2x2", 3: "2x2x1"}
"""A slice of every chip, by the dimensions of its torus; one device of it is used."""


class Cost(NamedTuple):
    """What the compiler made of one program."""

    needed_bytes: int
    fits: bool
    matrix_seconds: float
    memory_seconds: float
    compile_seconds: float


class Layer(nnx.Module):
    """One attention layer and its bias."""

    def __init__(self, config: TransformerConfig, making: Making):
        self.attention = Attention(config.stacks[0].layers[0].attention, making)
        self.bias = RelativePositionBias(RelativePositions(), config.num_heads, making, bidirectional=True)

    def __call__(self, x_BLD: jax.Array, ids_BL: jax.Array, *, backend: str) -> jax.Array:
        """Return what the layer adds to the residual stream."""
        mask = AttentionMask(query_segment_ids_BL=ids_BL, key_segment_ids_BM=ids_BL)
        memory = self.attention.key_values(x_BLD)
        return self.attention.attend(x_BLD, memory, backend=backend, mask=mask, bias=self.bias())


def measure(op: AttentionBackend, length: int, partitioner: Partitioner, chip: Chip) -> Cost:
    """Compile the gradients of one layer for ``TOKENS / length`` rows."""
    config, execution = preset("t5-1.1-large"), Execution(compute_dtype="bfloat16", attention=op)
    with nnx.use_eager_sharding(False):
        layer = nnx.eval_shape(lambda: Layer(config, Making.of(config, execution, nnx.Rngs(0))))
    graphdef, state = nnx.split(layer)

    def loss(state: Any, x_BLD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        out_BLD = nnx.merge(graphdef, state)(x_BLD, ids_BL, backend=op)
        return jnp.sum(out_BLD.astype(jnp.float32) ** 2)

    def shaped(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=partitioner.replicated)

    rows = TOKENS // length
    arguments = (
        jax.tree.map(lambda each: shaped(each.shape, each.dtype), state),
        shaped((rows, length, config.embed_dim), jnp.bfloat16),
        shaped((rows, length), jnp.int32),
    )
    return cost_of(jax.grad(loss, argnums=(0, 1)), arguments, partitioner, chip)


def cost_of(
    program: Callable[..., Any], arguments: tuple[Any, ...], partitioner: Partitioner, chip: Chip
) -> Cost:
    """Compile a program for arguments with these shapes."""
    with tempfile.TemporaryDirectory() as notes, partitioner.activate():
        start = time.perf_counter()
        lowered = jax.jit(program).lower(*arguments)
        _, refusal = compile_with_notes(lowered, Path(notes), target="one chip")
        seconds = time.perf_counter() - start
        (text,) = Path(notes).glob("*after_optimizations.txt")
        module = hlo.parse(text.read_text(encoding="utf-8"))
        occupied = occupancy(module, Path(notes))
    products, traffic = hlo_costs.products(module), main_memory_bytes(module)
    return Cost(
        needed_bytes=sum(buffer.num_bytes for buffer in occupied.buffers) + occupied.gaps,
        fits=refusal is None,
        matrix_seconds=sum(each.flops * each.passes for each in products) / chip.flops_per_second,
        memory_seconds=traffic / chip.memory_bandwidth,
        compile_seconds=seconds,
    )


def row(length: int, flash: Cost, reference: Cost) -> str:
    """Return a row of the table."""
    cells = [f"{length:,}", f"{TOKENS // length}"]
    for cost in (reference, flash):
        fits = "" if cost.fits else " (does not fit)"
        cells += [f"{cost.needed_bytes / GIB:.2f}{fits}", *_milliseconds(cost)]
    cells += [
        f"{reference.needed_bytes / flash.needed_bytes:.1f}x",
        f"{bound(reference) / bound(flash):.1f}x",
    ]
    return f"| {' | '.join(cells)} |"


def bound(cost: Cost) -> float:
    """Return the seconds of the busier resource."""
    return max(cost.matrix_seconds, cost.memory_seconds)


def _milliseconds(cost: Cost) -> list[str]:
    return [f"{1e3 * cost.matrix_seconds:.1f}", f"{1e3 * cost.memory_seconds:.1f}"]


def main() -> None:
    """Compile both ops for every length and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", default="v5e", choices=[name for name in CHIPS if name.startswith("v")])
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    arguments = parser.parse_args()
    chip = CHIPS[arguments.chip]
    topology = parse_topology(f"{arguments.chip}:{SMALLEST[chip.torus_dims]}")
    partitioner = make_partitioner(PartitioningConfig(), compile_only_devices(topology)[:1])
    print(
        f"{arguments.chip}, T5 1.1 large, one layer's self-attention, {TOKENS:,} tokens, forward and backward"
    )
    print(
        "| length | rows | XLA: GiB | matrix unit, ms | main memory, ms | kernel: GiB | matrix unit, ms "
        "| main memory, ms | memory | bound on time |"
    )
    print("|" + "---:|" * 10, flush=True)
    for length in map(int, arguments.lengths.split(",")):
        ops: tuple[AttentionBackend, ...] = ("flash", "reference")
        costs = [measure(op, length, partitioner, chip) for op in ops]
        print(row(length, *costs), flush=True)
        print(", ".join(f"{cost.compile_seconds:.0f} s" for cost in costs), "to compile", file=sys.stderr)


if __name__ == "__main__":
    main()

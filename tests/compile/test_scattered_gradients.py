"""Gradients of kernels, scattered as they are summed: for every vocabulary that a preset has, and for widths.

One product alone, which compiles in a second: whether XLA:TPU scatters rows depends on the prime factors of
their number of tiles, and on how many tiles of columns a device keeps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from t5lite.core.types import LogicalAxes
from t5lite.models.config import Execution
from t5lite.models.layers.gathered_kernels import named_kernels
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.projection import project
from t5lite.models.presets import PRESETS, preset
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner
from t5lite.partitioning.constraints import constrain_parameter
from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.collectives import collectives
from t5lite.planning.compiled.compile import compile_with_notes
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology

pytestmark = pytest.mark.slow

WIDTH, ROWS = 512, (32, 128)
TIED, OWN = ("vocab", "embed"), ("embed", "vocab")
TABLES = {(each.vocab_size, TIED if each.tie_embeddings else OWN) for each in map(preset, PRESETS)}
FACTORS = [(128 * tiles, OWN) for tiles in (61, 89, 97, 2 * 89, 2 * 97, 6 * 101)]
"""On both sides of where the compiler stops, a prime and a multiple of one."""


Product: TypeAlias = Callable[[jax.Array, jax.Array, LogicalAxes], jax.Array]


@pytest.fixture(scope="module")
def partitioner() -> Partitioner:
    return make_partitioner(PartitioningConfig(), compile_only_devices(parse_topology("v5e:4x4")))


def of_logits(x_BLD: jax.Array, kernel: jax.Array, axes: LogicalAxes) -> jax.Array:
    return LogitFactors(x_BLD, kernel, None, axes).logits().astype(jnp.bfloat16)


def of_a_layer(x_BLF: jax.Array, kernel: jax.Array, axes: LogicalAxes) -> jax.Array:
    state = nnx.State({"wo": nnx.Param(kernel, out_sharding=("layers", *axes), eager_sharding=False)})
    read: Any = named_kernels(state, Execution(compute_dtype="bfloat16"), apart=False)["wo"]
    return project("BLF,FD->BLD", x_BLF, read.get_value())


def sent(
    partitioner: Partitioner,
    shape: tuple[int, int],
    axes: LogicalAxes,
    notes: Path,
    product: Product = of_logits,
) -> dict[str, float]:
    """Return the bytes that a device sends for a kernel's gradient, by kind of collective."""
    read, written = (shape[0], shape[1]) if axes != TIED else (shape[1], shape[0])

    def gradient(kernel: jax.Array, x: jax.Array, y_bar: jax.Array) -> jax.Array:
        _, backward = jax.vjp(lambda kernel: product(x, kernel, axes), kernel)
        return constrain_parameter(backward(y_bar)[0], axes)

    def array(shape: tuple[int, ...], sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=sharding)

    kernel = array(shape, partitioner.sharding(axes, shape))
    x, y_bar = (array((*ROWS, size), partitioner.batch_sharding) for size in (read, written))
    with partitioner.activate():
        lowered = jax.jit(gradient).lower(kernel, x, y_bar)
    program, _ = compile_with_notes(lowered, notes, target="a test", options=partitioner.compiler_options)
    found = collectives(hlo.parse(program.as_text()), partitioner.mesh.shape)
    kinds = {each.kind for each in found}
    return {kind: sum(each.total_bytes for each in found if each.kind == kind) for kind in kinds}


@pytest.mark.parametrize(("vocab_size", "axes"), [*sorted(TABLES), *FACTORS])
def test_no_vocabulary_has_its_gradient_summed_whole(vocab_size, axes, partitioner, tmp_path):
    shape = (vocab_size, WIDTH) if axes == TIED else (WIDTH, vocab_size)
    by_kind = sent(partitioner, shape, axes, tmp_path)
    assert "all-reduce" not in by_kind
    assert 0 < sum(by_kind.values()) < 1.1 * 2 * WIDTH * vocab_size


@pytest.mark.parametrize("width", [768, 1024, 2048, 3072, 4096, 6144])
def test_no_width_has_its_kernels_gradient_summed_whole(width, partitioner, tmp_path):
    """A device of 16 keeps one or three whole tiles of 2,048 and 6,144 columns, which XLA:TPU would cut."""
    by_kind = sent(partitioner, (WIDTH, width), ("mlp", "embed"), tmp_path, of_a_layer)
    assert "all-reduce" not in by_kind
    assert 0 < sum(by_kind.values()) < 1.1 * 2 * WIDTH * width


def test_no_width_has_a_tied_tables_gradient_summed_whole(partitioner, tmp_path):
    by_kind = sent(partitioner, (4096, 2048), TIED, tmp_path)
    assert "all-reduce" not in by_kind
    assert 0 < sum(by_kind.values()) < 1.1 * 2 * 4096 * 2048

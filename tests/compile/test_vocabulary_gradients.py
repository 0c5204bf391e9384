"""The output projection's gradient, scattered as it is summed for every size of vocabulary that a preset has.

One product alone, 512 wide, which compiles in a second: whether XLA:TPU scatters rows depends on the prime
factors of their number of tiles, and not on how wide the model is.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from t5lite.core.types import LogicalAxes
from t5lite.models.layers.logits import LogitFactors
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


@pytest.fixture(scope="module")
def partitioner() -> Partitioner:
    return make_partitioner(PartitioningConfig(), compile_only_devices(parse_topology("v5e:4x4")))


def sent(partitioner: Partitioner, vocab_size: int, axes: LogicalAxes, notes: Path) -> dict[str, float]:
    """Return the bytes that a device sends for a kernel's gradient, by kind of collective."""
    shape = tuple(vocab_size if axis == "vocab" else WIDTH for axis in axes)

    def gradient(kernel: jax.Array, x_BLD: jax.Array, y_bar: jax.Array) -> jax.Array:
        def product(kernel: jax.Array) -> jax.Array:
            return LogitFactors(x_BLD, kernel, None, axes).logits().astype(jnp.bfloat16)

        return constrain_parameter(jax.vjp(product, kernel)[1](y_bar)[0], axes)

    def array(shape: tuple[int, ...], sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=sharding)

    kernel = array(shape, partitioner.sharding(axes, shape))
    x, y_bar = (array((*ROWS, size), partitioner.batch_sharding) for size in (WIDTH, vocab_size))
    with partitioner.activate():
        lowered = jax.jit(gradient).lower(kernel, x, y_bar)
    program, _ = compile_with_notes(lowered, notes, target="a test", options=partitioner.compiler_options)
    found = collectives(hlo.parse(program.as_text()), partitioner.mesh.shape)
    kinds = {each.kind for each in found}
    return {kind: sum(each.total_bytes for each in found if each.kind == kind) for kind in kinds}


@pytest.mark.parametrize(("vocab_size", "axes"), [*sorted(TABLES), *FACTORS])
def test_no_vocabulary_has_its_gradient_summed_whole(vocab_size, axes, partitioner, tmp_path):
    by_kind = sent(partitioner, vocab_size, axes, tmp_path)
    assert "all-reduce" not in by_kind
    assert 0 < sum(by_kind.values()) < 1.1 * 2 * WIDTH * vocab_size

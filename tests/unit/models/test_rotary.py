"""The TPU kernel of rotary positions, in Pallas' interpreter, against the plain op."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.models.kernels.rotary import rotate_columns
from t5lite.models.kernels.shapes import QUERY_AXES
from t5lite.models.kernels.table import rotate
from t5lite.models.layers import position
from t5lite.partitioning import PartitioningConfig
from t5lite.partitioning.rules import abstract_partitioner


def heads_and_rotation(*, rows, length, heads, dtype, seed=0):
    """Return heads of 128 columns, and what turns them: every row by positions of its own, or all alike."""
    rng = np.random.default_rng(seed)
    x_BLHK = jnp.asarray(rng.standard_normal((2, length, heads, 128)), dtype)
    angles = jnp.asarray(rng.uniform(0, 100, (rows, length, 64)), jnp.float32)
    return x_BLHK, position.Rotation(jnp.cos(angles), jnp.sin(angles), backend="flash")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("rows", "length", "heads"), [(1, 128, 3), (2, 384, 2), (2, 768, 9)])
def test_the_kernel_turns_heads_and_their_gradients_as_the_plain_op(rows, length, heads, dtype):
    x_BLHK, rotation = heads_and_rotation(rows=rows, length=length, heads=heads, dtype=dtype)
    kernel = functools.partial(rotate_columns, rotation=rotation, axes=QUERY_AXES, interpret=True)
    (out, back), (expected, expected_back) = (
        jax.vjp(turn, x_BLHK) for turn in (kernel, lambda x: position.rotate(x, rotation))
    )
    gradient = jnp.flip(x_BLHK, axis=1)
    # A product and a sum may be one instruction, which rounds once.
    close = functools.partial(
        np.testing.assert_allclose, rtol=1e-6 if dtype == jnp.float32 else 2**-7, atol=1e-6
    )
    close(np.float32(out), np.float32(expected))
    close(np.float32(back(gradient)[0]), np.float32(expected_back(gradient)[0]))


@pytest.mark.parametrize(
    ("partitioning", "backend", "length", "heads", "by_kernel"),
    [
        (PartitioningConfig(fsdp=4), "flash", 256, 4, True),
        (PartitioningConfig(style="tensor_parallel", fsdp=2, tensor=2), "flash", 256, 4, True),
        (PartitioningConfig(style="sequence_parallel", fsdp=2, sequence=2), "flash", 256, 4, True),
        (PartitioningConfig(style="sequence_parallel", fsdp=1, sequence=4), "flash", 256, 4, False),
        (PartitioningConfig(style="tensor_parallel", fsdp=1, tensor=4), "flash", 256, 6, False),
        (PartitioningConfig(fsdp=4), "flash", 200, 4, False),
        (PartitioningConfig(fsdp=4), "reference", 256, 4, False),
    ],
)
def test_the_kernel_is_called_where_every_device_has_whole_tiles(
    partitioning, backend, length, heads, by_kernel
):
    x_BLHK = jnp.zeros((4, length, heads, 128), jnp.bfloat16)
    rotation = position.Rotation(*jnp.zeros((2, 4, length, 64)), backend=backend)
    with abstract_partitioner(partitioning, 4).activate():
        program = jax.make_jaxpr(lambda x: rotate(x, rotation, QUERY_AXES))(x_BLHK)
    assert ("pallas_call" in str(program)) == by_kernel
    assert program.out_avals[0].shape == x_BLHK.shape

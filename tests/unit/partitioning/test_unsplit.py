"""What no mesh axis divides is said once: what, how much of it, and what to do."""

import jax
import jax.numpy as jnp
import pytest

from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.partitioning.unsplit import unsplit_messages

AXES = {"table": ("vocab", "embed"), "wi": ("layers", "embed", "mlp"), "norm": ("embed",)}
MESH = abstract_partitioner(PartitioningConfig(fsdp=2, tensor=4, style="tensor_parallel"), 8)


def messages(vocab, embed, mlp):
    shapes = {"table": (vocab, embed), "wi": (2, embed, mlp), "norm": (embed,)}
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    return unsplit_messages(MESH, tree, AXES)


@pytest.mark.parametrize("sizes", [(32, 16, 64), (50_257, 768, 3072), (32, 15, 64), (32, 16, 63)])
def test_nothing_is_said_where_every_axis_splits_a_dimension(sizes):
    assert messages(*sizes) == []


def test_the_largest_array_is_named_with_what_it_costs_and_the_remedy():
    (message,) = messages(50_257, 770, 3072)
    assert message == (
        "note: mesh tensor=4 divides no dimension of table (vocab=50,257 x embed=770): every device keeps "
        "55.4 MiB beyond its share; make a dimension a multiple of 4, or change partitioning.tensor"
    )
    (message,) = messages(50_257, 769, 3071)
    assert "mesh tensor=4 x fsdp=2 divides no dimension of table" in message
    assert " and 1 other arrays: every device" in message
    assert "a multiple of 8, or change partitioning.tensor or partitioning.fsdp" in message

"""How gradients are summed over the devices that share a parameter: what each keeps, and no more.

Sizes are small, all else is a preset's; of a size where the compiler does what it does with large ones.
"""

import math
from dataclasses import replace

import jax
import pytest

from t5lite.models.config import ModelConfig
from t5lite.partitioning import PartitioningConfig
from t5lite.planning.compiled.compile import BatchShape, CompiledStep
from tests.compile.steps import EXECUTION, compiled_step, parts
from tests.families import FAMILIES

pytestmark = pytest.mark.slow

TOPOLOGY = "v5e:4x4"
"""A square: on a v5e:2x4 the compiler scatters without being asked."""
SIZES = {
    "vocab_size": 1024,
    "embed_dim": 512,
    "mlp_dim": 1024,
    "head_dim": 64,
    "num_heads": 8,
    "max_length": 128,
}
BATCH = {"encoder_only": (128, 0), "decoder_only": (0, 128), "encoder_decoder": (128, 128)}
KIB = 1024

MESHES = {
    "fsdp": PartitioningConfig(style="fsdp"),
    "replica x fsdp": PartitioningConfig(style="fsdp", replica=2, fsdp=8),
    "fsdp x tensor": PartitioningConfig(style="tensor_parallel", fsdp=8, tensor=2),
    "sequence-sharded": PartitioningConfig(style="sequence_parallel", fsdp=8, tensor=2),
    "fsdp x sequence": PartitioningConfig(style="sequence_parallel", fsdp=8, sequence=2),
}
WAYS = [
    *(("t5-1.1", mesh) for mesh in MESHES),
    *((family, "fsdp") for family in ("bert", "gpt2", "llama3", "palm")),
]
"""All meshes with T5 1.1, and each architecture with fsdp: layouts follow from axes, which families share."""


def enlarged(config: ModelConfig) -> ModelConfig:
    """A family at a size where every kernel is larger than all vectors together."""
    sizes = dict(SIZES)
    if config.num_kv_heads not in (None, 1):
        sizes["num_kv_heads"] = 4
    return replace(config, **sizes)


def compiled(family: str, mesh: str) -> CompiledStep:
    config = enlarged(FAMILIES[family])
    encoder, decoder = BATCH[config.architecture]
    batch = BatchShape(batch_size=16, encoder_length=encoder, decoder_length=decoder)
    return compiled_step(MESHES[mesh], config, batch=batch, topology=TOPOLOGY)


def whole_bytes(family: str, mesh: str) -> float:
    """Float32 bytes of the parameters that every device has whole: norms, biases."""
    model, partitioner = parts(MESHES[mesh], enlarged(FAMILIES[family]), EXECUTION, TOPOLOGY)
    shardings = jax.tree.leaves(partitioner.tree_shardings(model.logical_axes, model.abstract_params))
    leaves = jax.tree.leaves(model.abstract_params)
    return sum(
        4 * math.prod(leaf.shape)
        for leaf, sharding in zip(leaves, shardings, strict=True)
        if sharding.shard_shape(leaf.shape) == leaf.shape
    )


@pytest.mark.parametrize(("family", "mesh"), WAYS)
def test_gradients_of_layers_are_scattered_as_they_are_summed(family, mesh):
    """In the loop over layers, all-reduces over what shards parameters are of vectors.

    Those over tensor and sequence are of activations, and those over replica of shards. Outside the loop the
    compiler combines a small table's sum with those of norms, and what is combined it does not scatter.
    """
    step = compiled(family, mesh)
    in_loop = [each for each in step.collectives if each.runs > 1 and "fsdp" in each.axes]
    summed = [each for each in in_loop if each.kind == "all-reduce"]
    sent = sum(each.total_bytes for each in summed)
    assert sent <= 2 * whole_bytes(family, mesh) + 16 * KIB, [
        (each.axes, each.total_bytes, each.source, each.op_name) for each in summed[:5]
    ]
    assert any(each.kind == "reduce-scatter" for each in in_loop)

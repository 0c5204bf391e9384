"""How gradients are summed over the devices that share a parameter: what each keeps, and no more.

Every structure that a preset has is compiled once, small, with fsdp; T5 1.1, GPT-2, whose vocabulary no mesh
divides, and Llama 3, whose heads share keys, on other meshes, too. ``benchmarks/gradient_sums.py`` compiles
all of them at their own widths on all meshes.
"""

from dataclasses import replace
from typing import NamedTuple, TypeAlias

import pytest

from t5lite.models.config import ModelConfig
from t5lite.partitioning import PartitioningConfig
from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.compile import CompiledStep
from tests.compile.steps import EXECUTION, and_text, compiled_step, parts
from tests.compile.structures import (
    BATCHES,
    MESHES,
    TOPOLOGY,
    WIDTHS,
    Structure,
    distinct,
    may_be_sent,
    rounded_sums,
    small,
    structure,
    summed_whole,
    too_much,
)
from tests.unit.planning import handmade

pytestmark = pytest.mark.slow

WAYS = [
    *((name, "fsdp") for name in distinct()),
    *(("t5-1.1-small", mesh) for mesh in MESHES if mesh != "fsdp"),
    *((name, mesh) for name in ("gpt2", "llama3-8b") for mesh in ("fsdp x tensor", "sequence-sharded")),
]


class Compiled(NamedTuple):
    """A step, and what in it adds many terms to a bfloat16."""

    step: CompiledStep
    rounded: list[str]


Steps: TypeAlias = dict[tuple[str, Structure], Compiled]


@pytest.fixture(scope="module")
def steps() -> Steps:
    """Those that are compiled, by mesh and structure."""
    return {}


def compiled(name: str, mesh: str, steps: Steps) -> Compiled:
    config = small(name)
    key = mesh, structure(*parts(MESHES[mesh], config, EXECUTION, TOPOLOGY))
    if key not in steps:
        steps[key] = compile_small(config, MESHES[mesh])
    return steps[key]


def compile_small(config: ModelConfig, partitioning: PartitioningConfig) -> Compiled:
    batch = BATCHES[config.architecture]
    step, text = and_text(lambda: compiled_step(partitioning, config, batch=batch, topology=TOPOLOGY))
    return Compiled(step, rounded_sums(step, hlo.parse(text)))


@pytest.mark.parametrize(("name", "mesh"), WAYS)
def test_gradients_are_scattered_as_they_are_summed(name, mesh, steps):
    """All-reduces over what shards parameters are of vectors and scalars.

    Those over tensor and sequence are of activations, and those over replica of shards. On several axes the
    compiler combines what is summed outside the loop over layers, and what is combined it does not scatter.
    """
    step = compiled(name, mesh, steps).step
    found = [each for each in summed_whole(step) if mesh == "fsdp" or each.runs > 1]
    assert not too_much(found, *parts(MESHES[mesh], small(name), EXECUTION, TOPOLOGY)), [
        (each.dtype, each.axes, each.total_bytes, each.source, each.op_name) for each in found[:5]
    ]
    assert any(each.kind == "reduce-scatter" and each.runs > 1 for each in step.collectives)


def test_the_output_projections_gradient_is_scattered_whatever_the_vocabulary():
    """T5's is of 251 tiles, a prime number, which the compiler does not scatter by rows."""
    name, partitioning = "t5-1.1-small", MESHES["fsdp"]
    config = replace(small(name), vocab_size=32_128)
    step = compile_small(config, partitioning).step
    assert not too_much(summed_whole(step), *parts(partitioning, config, EXECUTION, TOPOLOGY))


@pytest.mark.parametrize(("name", "mesh"), WAYS)
def test_no_sum_is_rounded_as_it_is_made(name, mesh, steps):
    """BERT's token types were: all tokens, one by one, into two rows of bfloat16."""
    assert not compiled(name, mesh, steps).rounded


def test_what_positions_add_hides_no_kernel():
    """T5's bias is more than a small model's kernel that is summed whole."""
    parameters = parts(MESHES["fsdp"], small("t5-1.1-small"), EXECUTION, TOPOLOGY)
    kernel_bytes = 2 * WIDTHS["embed_dim"] * WIDTHS["mlp_dim"]
    whole = replace(handmade.collective(), kind="all-reduce", dtype="bf16", runs=1, sent_bytes=kernel_bytes)
    assert may_be_sent(*parameters)["f32"] > kernel_bytes
    assert too_much([whole], *parameters) == {"bf16": kernel_bytes}


def test_what_is_rounded_is_seen():
    """What XLA:TPU makes of large kernels by its own choice, and rows that are added to bfloat16."""
    around = replace(handmade.collective(), kind="collective-permute")
    parts_added, gathered = (handmade.step(collectives=(each,)) for each in (around, handmade.collective()))
    row = "ROOT %sum = bf16[2,8] scatter(%table, %ids, %rows)"
    text = f"ENTRY %main (a: bf16[2,8]) -> bf16[2,8] {{\n  {row}\n}}\n"
    in_float32 = hlo.parse(text.replace("bf16", "f32"))
    assert rounded_sums(parts_added, in_float32) == [around.op_name]
    assert rounded_sums(gathered, hlo.parse(text)) == ["sum"]
    assert not rounded_sums(gathered, in_float32)

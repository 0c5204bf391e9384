"""The search over meshes, remat policies and microbatches."""

import dataclasses
import functools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import recipe
from t5lite.models import config
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import AdamWConfig
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.partitioning.rules import STYLES
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel
from t5lite.planning.predicted.remat import remat_names
from t5lite.planning.report import plan_report
from t5lite.planning.search.candidates import (
    MODEL_NOT_DIVISIBLE,
    Search,
    partitionings,
    search,
)
from t5lite.planning.search.finalists import Finalist
from t5lite.planning.search.workload import planned_optimizer
from t5lite.training.step import check_batch_size

SHAPE: dict[str, Any] = {"vocab_size": 512, "embed_dim": 128, "mlp_dim": 256, "head_dim": 16, "num_heads": 8}
MODELS = {
    "t5": build(EncoderDecoderConfig(**SHAPE, num_encoder_layers=2, num_decoder_layers=2)),
    "llama": build(DecoderOnlyConfig(**SHAPE, num_layers=2, num_kv_heads=2)),
    "large": build(
        DecoderOnlyConfig(
            vocab_size=32_000, embed_dim=8192, mlp_dim=28_672, head_dim=128, num_heads=64, num_layers=80
        )
    ),
}


BATCH = BatchShape(batch_size=64, encoder_length=64, decoder_length=32)


def costs(model: FunctionalModel, topology: str, batch: BatchShape, *, num_slices: int = 1) -> CostModel:
    optimizer = planned_optimizer(AdamWConfig(), model)
    return CostModel(model, optimizer, parse_topology(topology, num_slices=num_slices), batch)


@functools.cache
def found_for_t5() -> Search:
    return search(costs(MODELS["t5"], "v5e:4x4", BATCH))


@given(
    name=st.sampled_from(["t5", "llama"]),
    topology=st.sampled_from(["v5e:2x2", "v5e:4x4", "v5p:2x2x2", "v6e:2x4"]),
    num_slices=st.integers(1, 2),
    batch_size=st.integers(1, 96),
)
@settings(deadline=None, max_examples=15)
def test_everything_that_is_returned_can_run(name: str, topology: str, num_slices: int, batch_size: int):
    batch = BatchShape(batch_size=batch_size, encoder_length=64, decoder_length=32)
    model = costs(MODELS[name], topology, batch, num_slices=num_slices)
    found, planned = search(model), MODELS[name]
    assert found.num_considered == len(found.ranked) + sum(found.dropped.values())
    for candidate in found.ranked:
        partitioner = abstract_partitioner(candidate.partitioning, model.topology.num_devices)
        partitioner.check(batch_size, planned.config.head_counts)
        check_batch_size(batch_size, candidate.execution.num_microbatches, partitioner)
        assert candidate.prediction.memory.total < model.topology.chip.memory_bytes
        assert candidate.partitioning.replica % num_slices == 0


def test_the_ranking_is_by_time_and_each_one_is_smaller_than_the_faster_ones():
    found = found_for_t5()
    times = [each.prediction.time.ranking for each in found.ranked]
    sizes = [each.prediction.memory.total for each in found.ranked]
    assert times == sorted(times)
    assert sizes == sorted(sizes, reverse=True)
    assert len(found.ranked) > 1
    for kind in found.kinds:
        sizes = [each.prediction.memory.total for each in kind]
        assert sizes == sorted(sizes, reverse=True)
        assert {(each.partitioning.style, each.execution.remat) for each in kind} == {
            (kind[0].partitioning.style, kind[0].execution.remat)
        }
    fastest = [kind[0].prediction.time.ranking for kind in found.kinds]
    assert fastest == sorted(fastest)
    assert fastest[0] == times[0]


@pytest.mark.parametrize(("devices", "num_slices"), [("v5e:1x1", 1), ("v5e:4x4", 1), ("v5e:4x4", 2)])
def test_meshes_are_of_all_devices_and_distinct(devices: str, num_slices: int):
    topology = parse_topology(devices, num_slices=num_slices)
    kept = PartitioningConfig(extra_rules=(("parameters.embed", None),), compiler_options=(("a", "b"),))
    meshes = list(partitionings(topology, kept))
    assert [dataclasses.replace(kept, style=mesh.style, **mesh.sizes) for mesh in meshes] == meshes
    assert len(set(meshes)) == len(meshes)
    assert {mesh.style for mesh in meshes} >= ({*STYLES} if topology.num_devices > 1 else {"fsdp"})
    for mesh in meshes:
        assert math.prod(mesh.sizes.values()) == topology.num_devices
        abstract_partitioner(
            dataclasses.replace(mesh, extra_rules=()), topology.num_devices
        )  # refuses an axis that no rule uses


def test_an_odd_vocabulary_excludes_no_mesh():
    """Nor do widths that nothing divides; heads do, whose meshes are counted as dropped."""
    odd = build(DecoderOnlyConfig(**SHAPE | {"vocab_size": 513, "mlp_dim": 250}, num_layers=2))
    even = costs(build(DecoderOnlyConfig(**SHAPE, num_layers=2)), "v5e:4x4", BATCH)
    assert (
        search(costs(odd, "v5e:4x4", BATCH)).dropped[MODEL_NOT_DIVISIBLE]
        == (search(even).dropped[MODEL_NOT_DIVISIBLE])
    )


def test_what_does_not_fit_says_what_the_smallest_needs():
    model = costs(MODELS["large"], "v5e:2x2", BatchShape(batch_size=4, decoder_length=2048))
    found = search(model)
    assert found.ranked == ()
    available = model.topology.chip.memory_bytes
    assert found.smallest is not None
    assert found.smallest.prediction.memory.total > available
    message = plan_report.nothing_fits(found, heading="70B", memory_bytes=available)
    assert "nothing fits" in message
    assert "more chips" in message


def test_a_batch_that_nothing_divides_is_named():
    found = search(costs(MODELS["t5"], "v5e:4x4", dataclasses.replace(BATCH, batch_size=7)))
    assert set(found.dropped) >= {"the mesh or the microbatches do not divide the batch"}


def test_the_largest_batch_is_planned_for_as_fast_as_a_small_one():
    """Its size, which is a prime number, was searched for divisors one by one."""
    found = search(costs(MODELS["t5"], "v5e:1x1", dataclasses.replace(BATCH, batch_size=2**31 - 1)))
    assert found.ranked == ()
    assert found.smallest is not None
    assert found.smallest.execution.num_microbatches == 1
    even = search(costs(MODELS["t5"], "v5e:1x1", dataclasses.replace(BATCH, batch_size=2**31 - 2)))
    assert even.smallest is not None
    assert even.smallest.execution.num_microbatches == 7 * 9


def test_a_recipe_s_lines_are_python_that_asks_for_the_candidate():
    for candidate in found_for_t5().ranked:
        partitioning, remat, *names, step = (line.partition("=")[2] for line in candidate.recipe)
        assert tuple(map(eval, names)) == (
            (remat_names("save"),) if candidate.execution.remat == "save" else ()
        )
        names = {"r": recipe}
        assert eval(partitioning, names) == candidate.partitioning
        assert eval(remat) == candidate.execution.remat
        assert eval(step, names).num_microbatches == candidate.execution.num_microbatches


def test_the_report_has_counts_times_and_recipe():
    found = found_for_t5()
    text = plan_report.text(found, [], heading="a plan", memory_bytes=2**34)
    assert text.startswith("a plan\n")
    assert "16.00 GiB a device" in text
    assert found.ranked[0].recipe[0] in text
    assert found.ranked[0].overrides in text
    shown = plan_report.as_json(found, [])
    assert len(shown["predicted"]) == len(found.ranked)
    assert sum(shown["dropped"].values()) + len(found.ranked) == shown["considered"]


def test_a_refused_finalist_comes_last_and_says_why():
    candidate = found_for_t5().ranked[0]
    refused = Finalist(candidate=candidate, compiled=None, roofline=None, problem="no such opcode")
    assert refused.rank > (False, 1e9)
    text = plan_report.text(found_for_t5(), [refused], heading="", memory_bytes=1)
    assert "no such opcode" in text
    assert plan_report.as_json(found_for_t5(), [refused])["compiled"][0]["problem"] == "no such opcode"


def test_the_configuration_s_own_remat_does_not_matter():
    full = build(MODELS["t5"].config, config.Execution(remat="full"))
    assert search(costs(full, "v5e:4x4", BATCH)).ranked == found_for_t5().ranked

"""The cost model against the compiler, on the small training steps of ``steps``.

Small steps are hard to predict: arrays of a few megabytes stay on the chip or not, tables are padded. The
tolerances say how far off a prediction was. Memory, and the time it takes, are compared on eight times the
rows.
"""

import functools
import json
from dataclasses import replace

import pytest

from t5lite.cli.main import main
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig
from t5lite.partitioning import abstract_partitioner
from t5lite.planning.compiled.compile import BatchShape, CompiledStep
from t5lite.planning.compiled.roofline import MAIN_MEMORY, roofline
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel, Execution, Prediction
from t5lite.planning.search.finalists import planned_optimizer
from tests.compile.steps import BATCH, TOPOLOGY, WAYS, compiled_step, way

pytestmark = pytest.mark.slow

ON_CHIP = 128 * 2**20
"""Bytes of VMEM on a v5e core, where the compiler keeps what it can."""

MANY_ROWS = replace(BATCH, batch_size=128)


@functools.cache
def many_rows(name: str) -> CompiledStep:
    return compiled_step(*WAYS[name], MANY_ROWS)


@functools.cache
def predicted(name: str, batch: BatchShape = BATCH) -> Prediction:
    partitioning, config = WAYS[name]
    model, topology = build(config), parse_topology(TOPOLOGY)
    costs = CostModel(model, planned_optimizer(AdamWConfig(), model.logical_axes), topology, batch)
    mesh = costs.on(abstract_partitioner(partitioning, topology.num_devices))
    return mesh.predict(Execution(remat=config.remat))


@pytest.mark.parametrize("name", WAYS)
def test_flops_are_what_the_compiled_program_has(name: str):
    assert predicted(name).flops == pytest.approx(way(name).flops, rel=0.02)


@pytest.mark.parametrize("name", WAYS)
def test_the_state_takes_its_bytes_and_the_padding_of_tiles(name: str):
    """64 columns of a table are padded to the 128 of a tile."""
    memory, compiled = predicted(name).memory, way(name).memory
    state = memory.parameters + memory.optimizer
    assert state <= 1.001 * (compiled.parameters + compiled.optimizer) <= 1.4 * state


@pytest.mark.parametrize("name", WAYS)
def test_memory_is_predicted_within_a_factor(name: str):
    """With rows enough that what is kept does not stay on the chip; full remat keeps little in any case."""
    if WAYS[name][1].remat == "full":
        total, needed = predicted(name).memory.total, way(name).memory.needed
    else:
        total, needed = predicted(name, MANY_ROWS).memory.total, many_rows(name).memory.needed
    assert 0.85 < total / needed < 1.7


@pytest.mark.parametrize("name", WAYS)
def test_memory_is_predicted_but_for_what_stays_on_the_chip(name: str):
    total, needed = predicted(name, MANY_ROWS).memory.total, many_rows(name).memory.needed
    assert 0.9 * needed < total < 1.1 * needed + ON_CHIP


@pytest.mark.parametrize("name", WAYS)
def test_time_is_hardly_ever_predicted_longer_than_the_roofline(name: str):
    time, bound = predicted(name, MANY_ROWS).time, roofline(many_rows(name))
    assert time.main_memory < 1.3 * bound.seconds[MAIN_MEMORY]
    links = [seconds for resource, seconds in bound.seconds.items() if resource.startswith("links")]
    assert max(time.links.values()) < 1.5 * sum(links)


def test_the_command_compiles_the_best_and_prints_its_roofline(capsys: pytest.CaptureFixture[str]):
    command = ["plan", "--model", "t5-efficient-tiny", "--chips", "v5e-4", "--global-batch-size", "16"]
    lengths = ["--encoder-length", "128", "--decoder-length", "128"]
    assert main([*command, *lengths, "--compile", "1", "--json"]) == 0
    (finalist,) = json.loads(capsys.readouterr().out)["compiled"]
    assert finalist["problem"] is None
    assert finalist["memory_bytes"] > 0
    assert 0 < finalist["mfu"] < 1

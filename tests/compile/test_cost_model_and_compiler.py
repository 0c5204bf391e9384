"""The cost model's memory and time against the compiler's, on the training steps of ``steps`` with more rows.

Small steps are hard to predict: arrays of a few megabytes stay on the chip or not. So there are eight times
the rows here, with which what is kept for the backward pass does not; the tolerances say how far off a
prediction was. What holds for few rows is with the other tests of those steps (``test_training_steps``).
"""

import functools
import json
from dataclasses import replace

import pytest

from t5lite.cli.main import main
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.compiled.roofline import MAIN_MEMORY, roofline
from tests.compile.steps import BATCH, WAYS, compiled_step, predicted

pytestmark = pytest.mark.slow

ON_CHIP = 128 * 2**20
"""Bytes of VMEM on a v5e core, where the compiler keeps what it can."""

MANY_ROWS = replace(BATCH, batch_size=128)
SHARDED = [name for name in WAYS if name != "data_parallel"]
"""Copies keep what fsdp keeps for the backward pass; their state and their sum of gradients have no rows."""


@functools.cache
def many_rows(name: str) -> CompiledStep:
    return compiled_step(*WAYS[name], MANY_ROWS)


@pytest.mark.parametrize("name", ["fsdp", "tensor"])
def test_memory_is_predicted_within_a_factor(name: str):
    total, needed = predicted(name, MANY_ROWS).memory.total, many_rows(name).memory.needed
    assert 0.85 < total / needed < 1.7


@pytest.mark.parametrize("trainable", [("decoder", "logits"), ("*norm*",)], ids=["encoder", "kernels"])
def test_what_is_frozen_is_predicted_as_far_off_as_the_rest(trainable: tuple[str, ...]):
    whole, part = many_rows("fsdp"), compiled_step(*WAYS["fsdp"], MANY_ROWS, trainable=trainable)
    one = predicted("fsdp", MANY_ROWS, trainable)
    assert part.memory.parameters == whole.memory.parameters
    assert part.memory.optimizer < 0.6 * whole.memory.optimizer
    assert one.model_flops == pytest.approx(part.model_flops)
    assert one.flops == pytest.approx(part.flops, rel=0.02)
    assert 0.9 * part.memory.needed < one.memory.total < 1.1 * part.memory.needed + ON_CHIP
    bound = roofline(part)
    assert one.time.main_memory < 1.3 * bound.seconds[MAIN_MEMORY]
    assert one.memory.total < predicted("fsdp", MANY_ROWS).memory.total


@pytest.mark.parametrize("name", SHARDED)
def test_memory_is_predicted_but_for_what_stays_on_the_chip(name: str):
    total, needed = predicted(name, MANY_ROWS).memory.total, many_rows(name).memory.needed
    assert 0.9 * needed < total < 1.1 * needed + ON_CHIP


@pytest.mark.parametrize("name", SHARDED)
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

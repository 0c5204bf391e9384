"""Memory of the published runs' recipes, as the planner predicts it, beside what the compiler asked for."""

import re
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.models.parameter_count import count_parameters
from t5lite.partitioning import abstract_partitioner
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import PlannedExecution
from t5lite.run_config import RunConfig
from t5lite.runner.planned_recipe import workload_of
from t5lite.scaling.sweeps import read_sweep

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
COMPILED = {
    name: (topology, float(needed), said)
    for name, topology, needed, said in re.findall(
        r"\| `(\w+)` \| (v5e:\d+x\d+) \| ([\d.]+) GiB \| ([\d.]+) GiB \|", PAGE
    )
}
"""By recipe the slice, GiB a chip and what is said to be predicted."""
TENTH = 0.1
"""What a plan leaves free for its predictions' errors."""


def predicted(recipe: RunConfig, topology: str, num_microbatches: int) -> float:
    """GiB of a chip."""
    workload = workload_of(recipe, parse_topology(topology))
    mesh = abstract_partitioner(recipe.partitioning, workload.topology.num_devices)
    way = PlannedExecution(remat=recipe.execution.remat, num_microbatches=num_microbatches)
    return workload.costs().on(mesh).predict(way).memory.total / GIB


def reproduction(name: str) -> RunConfig:
    return run_config.load(ROOT / "configs" / "reproductions" / f"{name}.py")


@pytest.mark.parametrize("name", COMPILED)
def test_a_recipe_is_predicted_within_a_tenth_of_what_the_compiler_asked_for(name: str):
    recipe, (topology, needed, said) = reproduction(name), COMPILED[name]
    total = predicted(recipe, topology, recipe.step.num_microbatches)
    assert f"{total:.2f}" == said
    assert total == pytest.approx(needed, rel=TENTH)


def test_every_recipe_was_compiled_and_one_that_does_not_fit_whole_is_predicted_not_to():
    assert COMPILED.keys() == {path.stem for path in (ROOT / "configs" / "reproductions").glob("*.py")}
    assert "whole, it wants 23.2 GiB of 15.8" in PAGE
    whole = predicted(reproduction("modernbert_base"), COMPILED["modernbert_base"][0], 1)
    assert whole == pytest.approx(23.2, rel=TENTH)


@pytest.mark.parametrize(
    ("sweep", "topology"), [("t5_efficient", "v5e:4x4"), ("chinchilla_ladder", "v5e:16x16")]
)
def test_the_largest_of_a_sweep_under_each_remat_policy_are_predicted_to_fit(sweep: str, topology: str):
    (runs,) = read_sweep(ROOT / "configs" / "sweeps" / f"{sweep}.py").families.values()
    by_size = sorted(runs, key=lambda run: count_parameters(run.model))
    largest = {run.execution.remat: run for run in by_size}
    available = parse_topology(topology).chip.memory_bytes / GIB
    for run in largest.values():
        assert predicted(run, topology, run.step.num_microbatches) < (1 - TENTH) * available

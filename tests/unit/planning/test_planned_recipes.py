"""Recipes that ``t5lite plan`` made are what it writes of their kept figures, and are predicted to fit."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.planned_recipes import FIGURES, RECIPES, files, recipe
from t5lite.partitioning import abstract_partitioner
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import PlannedExecution
from t5lite.runner.planned_recipe import workload_of

ROOT = Path(__file__).parents[3]
KEPT: dict[str, dict[str, Any]] = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_recipes_and_their_table_are_made_of_the_kept_figures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for name, text in files(KEPT).items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: benchmarks.planned_recipes --only"
    planned = {path.stem for path in (ROOT / "configs").glob("*_v[0-9]*.py")}
    assert planned == {*RECIPES} == {*KEPT}


@pytest.mark.parametrize("name", RECIPES)
def test_a_planned_recipe_was_made_by_its_command_and_is_predicted_to_fit(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    made = recipe(name, KEPT[name])
    assert made.origin.words == (
        *("plan", *shlex.split(RECIPES[name])),
        *("--write", f"configs/{name}.py", "--overwrite"),
    )
    workload = workload_of(made.config, parse_topology(made.figures.topology))
    mesh = abstract_partitioner(made.config.partitioning, workload.topology.num_devices)
    remat, number = made.config.execution.remat, made.config.step.num_microbatches
    predicted = workload.costs().on(mesh).predict(PlannedExecution(remat=remat, num_microbatches=number))
    assert predicted.memory.total <= 0.9 * workload.topology.chip.memory_bytes
    compiled = made.figures.compiled
    assert compiled is not None
    assert compiled.needed_bytes + compiled.margin_bytes <= compiled.available_bytes

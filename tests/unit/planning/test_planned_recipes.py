"""Recipes that ``t5lite plan`` made are what it writes of their kept figures, and are predicted to fit."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import jax
import pytest

from benchmarks import planned_recipes
from benchmarks.planned_recipes import FIGURES, RECIPES, files, recipe
from t5lite import run_config
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


@pytest.mark.parametrize(
    ("seconds", "compiler", "kept"), [(1.1, "same", True), (0.9, "same", False), (1.1, "newer", False)]
)
def test_a_recipe_that_is_there_stays_unless_a_faster_one_is_found(
    seconds: float, compiler: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def of(seconds: float, compiler: str) -> dict[str, Any]:
        compiled = {"scheduled_seconds": seconds, "compiler": compiler}
        return {"figures": {"heading": "a model on a slice", "compiled": compiled}}

    def planned(name: str, path: Path) -> dict[str, Any]:
        (tmp_path / path).write_text("found")
        return of(seconds, compiler)

    monkeypatch.setattr(planned_recipes, "ROOT", tmp_path)
    monkeypatch.setattr(planned_recipes, "planned", planned)
    path = tmp_path / "a.py"
    path.write_text("shipped")
    shipped = of(1.0, "same")
    chosen = planned_recipes.fastest("a", path, shipped)
    assert (chosen is shipped, path.read_text()) == (kept, "shipped" if kept else "found")


@pytest.mark.parametrize("trainable", [None, ("decoder",)])
def test_an_average_is_four_bytes_of_each_trained_parameter_in_a_prediction(trainable):
    recipe = run_config.load(ROOT / "tests" / "e2e" / "tiny_recipe.py")
    recipe = dataclasses.replace(recipe, trainable=trainable)
    topology = parse_topology("v5e:1x1")
    mesh = abstract_partitioner(recipe.partitioning, topology.num_devices)
    predicted, needed = [], []
    for decay in (None, 0.99):
        training = dataclasses.replace(recipe.training, ema_decay=decay)
        averaged = dataclasses.replace(recipe, training=training)
        costs = workload_of(averaged, topology).costs().on(mesh)
        predicted.append(costs.predict(PlannedExecution(remat="none", num_microbatches=1)).memory.optimizer)
        model = averaged.functional_model()
        state = jax.eval_shape(averaged.build_optimizer(model).init, model.abstract_params)
        needed.append(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)))
    scalars = 64
    assert predicted[1] - predicted[0] == pytest.approx(needed[1] - needed[0], abs=scalars)
    assert needed[1] - needed[0] > 4 * 10_000


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
    assert made.figures.predicted_bytes == pytest.approx(predicted.memory.total)
    assert predicted.memory.total == pytest.approx(compiled.needed_bytes, rel=0.1)
    assert compiled.needed_bytes + compiled.margin_bytes <= compiled.available_bytes

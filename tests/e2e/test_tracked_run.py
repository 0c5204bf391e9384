"""``t5lite train`` with a tracker: it is shown what metrics.jsonl has, and a missing package is a line."""

import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from t5lite.cli.main import main
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import RECIPE

TRACKED = """
import dataclasses, runpy
from t5lite.training.trackers import WandbConfig

def config():
    return dataclasses.replace(runpy.run_path({recipe!r})["config"](), trackers=(WandbConfig(project="p"),))
"""


@pytest.fixture
def arguments(train_arguments, tmp_path) -> list[str]:
    recipe = tmp_path / "tracked.py"
    recipe.write_text(TRACKED.format(recipe=str(RECIPE)))
    changed = [str(recipe) if word == str(RECIPE) else word for word in train_arguments]
    short = ["--training.total-steps", "2", "--schedule.warmup-steps", "1", "--schedule.decay-steps", "1"]
    return [*changed, "--run-dir", str(tmp_path / "run"), *short]


@pytest.mark.slow
def test_a_tracker_is_shown_the_run(arguments, tmp_path, monkeypatch):
    logged, ended, asked = [], [], {}
    wandb = ModuleType("wandb")
    wandb.__spec__ = ModuleSpec("wandb", None)

    def init(**options):
        asked.update(options)
        return SimpleNamespace(
            log=logged.append,
            finish=lambda **how: ended.append(how),
            define_metric=lambda *args, **options: None,
        )

    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert main([*arguments, "--evaluations", "None", "--trackers.0.project", "mine"]) == 0
    entries = [
        entry for entry in read_metrics(tmp_path / "run" / "metrics.jsonl") if entry["kind"] == "train"
    ]
    shown = [(each["step"], each["train/loss"]) for each in logged if "train/loss" in each]
    assert shown == [(entry["step"], entry["loss"]) for entry in entries]
    assert (ended, asked["project"], asked["name"]) == ([{"exit_code": 0}], "mine", "run")
    saved = json.loads(Path(tmp_path, "run", "trackers.json").read_bytes())
    assert saved["tracked_as"] == {"wandb": asked["id"]}


def test_a_package_that_is_missing_is_told_before_anything_is_done(arguments, tmp_path, monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find_spec(name, *rest)
    )
    assert main(arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "t5lite train: trackers: wandb is not installed; pip install 't5lite[wandb]'"
    assert not (tmp_path / "run").exists()

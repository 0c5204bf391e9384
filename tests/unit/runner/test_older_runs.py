"""Runs that were started before there were other architectures and objectives."""

import json
from pathlib import Path

from t5lite import run_config
from t5lite.runner.run_directory import RunDirectory

RECIPE = Path(__file__).parents[2] / "e2e" / "tiny_recipe.py"


def test_fields_that_came_later_are_no_changes(tmp_path):
    config = run_config.load(RECIPE)
    saved = run_config.to_json(config)
    for node in (saved["model"], saved["data"]["objective"]):
        del node["type"]
    for name in ("num_kv_heads", "positions", "norm", "biases"):
        del saved["model"][name]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    directory = RunDirectory.at(tmp_path)
    assert directory.read_config() == config
    assert directory.config_changes(config) == []
    changed = run_config.load(RECIPE, ["--seed", "3"])
    assert directory.config_changes(changed) == ["seed: 0 → 3"]


def test_a_configuration_that_is_no_longer_understood_is_still_compared(tmp_path):
    config = run_config.load(RECIPE)
    (tmp_path / "config.json").write_text(json.dumps(run_config.to_json(config) | {"colour": "red"}))
    assert RunDirectory.at(tmp_path).config_changes(config) == ["colour: 'red' → None"]

"""Branches from one trunk are, bit for bit, the runs that they would be alone, and cost their own steps."""

import csv
import io
import json
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.scaling.sweep_running import Processes
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import HERE

SWEEP = """
from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s


def sweep():
    recipe = s.recipe(
        {recipe!r},
        *("--data.store", {store!r} + "/train", "--evaluations.heldout.store", {store!r} + "/heldout"),
        "--model.dropout-rate", "0.1", "--training.eval-every-steps", "4", "--training.total-steps", "100",
    )
    recipe = r.replace(recipe, schedule=r.WarmupStableDecay(peak=0.01, warmup_steps=3, decay_steps=20))
    model = s.resized(recipe.model, embed_dim=8, num_layers=1, num_heads=2)
    budgets = [s.Tokens(tokens=steps * 8 * 32) for steps in (12, 20)]
    runs = s.branches(recipe, models=[model], budgets=budgets)
    return s.Sweep(directory={directory!r}, families={{"gpt": runs}}, evaluate=False)
"""


def told(run: Path) -> list[tuple]:
    """What a run measured of its model, by step."""
    kept = ("loss", "learning_rate", "grad_norm")
    entries = [each for each in read_metrics(run / "metrics.jsonl") if each["kind"] in ("train", "eval")]
    return [(each["kind"], each["step"], *(each.get(name) for name in kept)) for each in entries]


@pytest.mark.slow
def test_a_branch_is_the_run_of_its_length(text_data: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(
        Processes, "run", lambda processes, words: main([*words])
    )  # which spares their starts
    file, directory = tmp_path / "sweep.py", tmp_path / "sweep"
    recipe = str(HERE / "tiny_gpt_recipe.py")
    file.write_text(SWEEP.format(recipe=recipe, store=str(text_data), directory=str(directory)))
    assert main(["sweep", str(file)]) == 0
    assert "2 of 2 runs are finished" in capsys.readouterr().err
    table = (directory / "table.csv").read_text(encoding="utf-8")
    short, long = csv.DictReader(io.StringIO(table, newline=""))
    counted = [(row["steps"], row["own_steps"], row["trunk"], row["tokens"]) for row in (short, long)]
    assert counted == [("12", "12", "", "3072"), ("20", "10", short["run"], "5120")]
    assert float(long["own_flops"]) == pytest.approx(float(long["flops"]) / 2)
    curves = csv.DictReader(io.StringIO((directory / "curves.csv").read_text(), newline=""))
    assert [row["step"] for row in curves if row["run"] == long["run"]] == ["4", "8", "12", "16", "20"]

    branch, alone = directory / "runs" / long["run"], tmp_path / "alone"
    config = ["train", "--config", str(branch / "config.json"), "--continue-from", "None"]
    assert main([*config, "--run-dir", str(alone)]) == 0
    assert told(branch) == told(alone)
    # Of all arrays: parameters, optimizer state, step.
    saved = [(run / "checkpoints/20/fingerprints/metadata").read_text() for run in (branch, alone)]
    assert json.loads(saved[0]) == json.loads(saved[1])

    # The steps before the branch are those of its trunk, and all are those of the run alone.
    trunk, shown = directory / "runs" / short["run"], {}
    for run in (trunk, branch, alone):
        for step in (1, 10, 11, 20) if run != trunk else (1, 10):
            capsys.readouterr()
            assert main(["inspect-data", "--run", str(run), "--step", str(step), "--json"]) == 0
            shown[run, step] = capsys.readouterr().out
            assert shown[run, step].count("\n") == 8
    assert all(shown[branch, step] == shown[trunk, step] for step in (1, 10))
    assert all(shown[branch, step] == shown[alone, step] for step in (1, 10, 11, 20))
    assert len({*shown.values()}) == 4

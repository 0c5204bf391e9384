"""``t5lite sweep`` of two real runs: killed, gone on with, and its table as a fit reads it."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.scaling.tables import Reading
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import HERE, REPOSITORY

SWEEP = """
from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s


def sweep():
    recipe = s.recipe(
        {recipe!r},
        *("--data.store", {store!r} + "/train"),
        *("--evaluations.heldout.store", {store!r} + "/heldout"),
    )
    recipe = r.replace(
        recipe, training=r.replace(recipe.training, total_steps=30),
        checkpoints=r.replace(recipe.checkpoints, save_every_steps=5),
    )
    models = [s.resized(recipe.model, embed_dim=width, num_layers=1, num_heads=2) for width in (8, 16)]
    runs = s.ladder(recipe, models=models, budgets=[s.Tokens(tokens=30 * 8 * 32)])
    return s.Sweep(directory={directory!r}, families={{"gpt": runs}}, evaluate=False)
"""


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_ends_in_a_table(text_data: Path, tmp_path: Path, capsys):
    directory = tmp_path / "sweep"
    file = tmp_path / "sweep.py"
    recipe = str(HERE / "tiny_gpt_recipe.py")
    file.write_text(SWEEP.format(recipe=recipe, store=str(text_data), directory=str(directory)))
    assert main(["sweep", str(file), "--list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("waiting") == 2
    assert not directory.exists()

    with (tmp_path / "log").open("w") as log:
        killed = subprocess.Popen(
            [sys.executable, "-m", "t5lite.cli.main", "sweep", str(file)],
            cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(directory.glob("runs/*/checkpoints/5")):
        assert killed.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()

    assert main(["sweep", str(file)]) == 0
    said = capsys.readouterr().err
    assert "from step" in said
    assert "2 of 2 runs are finished" in said
    rows = rows_of(directory / "table.csv")
    assert [row["config.model.embed_dim"] for row in rows] == ["8", "16"]
    observations = Reading().tables(str(directory / "table.parquet"))[""].observations
    assert list(observations.params) == [float(row["params"]) for row in rows]
    for row in rows:
        entries = read_metrics(directory / "runs" / row["run"] / "metrics.jsonl")
        assert [each["step"] for each in entries if each["kind"] == "train"] == list(range(1, 31))
        assert float(row["loss"]) == [each["loss"] for each in entries if each["kind"] == "eval"][-1]
        assert row["finished/jax"]
    assert len(rows_of(directory / "curves.csv")) == 2

    starts = sorted(directory.glob("runs/*/ledger/*"))
    assert main(["sweep", str(file)]) == 0
    assert sorted(directory.glob("runs/*/ledger/*")) == starts
    assert main(["sweep", str(file), "--list"]) == 0
    assert capsys.readouterr().out.count("finished") == 2

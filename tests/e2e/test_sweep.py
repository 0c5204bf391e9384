"""``t5lite sweep`` of two real runs: killed, gone on with, by two at once; its table as a fit reads it."""

import contextlib
import csv
import io
import itertools
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
        *("--lease.heartbeat-seconds", "0.1"),
    )
    recipe = r.replace(
        recipe, training=r.replace(recipe.training, total_steps={steps}),
        checkpoints=r.replace(recipe.checkpoints, save_every_steps=5),
    )
    models = [s.resized(recipe.model, embed_dim=width, num_layers=1, num_heads=2) for width in (8, 16)]
    runs = s.ladder(recipe, models=models, budgets=[s.Tokens(tokens={steps} * 8 * 32)])
    return s.Sweep(directory={directory!r}, families={{"gpt": runs}}, evaluate=False)
"""


def sweep_file(folder: Path, text_data: Path, *, steps: int) -> Path:
    """Write a sweep of two runs into ``folder``, whose directory is to be ``folder``/sweep."""
    file, recipe = folder / "sweep.py", str(HERE / "tiny_gpt_recipe.py")
    directory, store = str(folder / "sweep"), str(text_data)
    file.write_text(SWEEP.format(recipe=recipe, store=store, directory=directory, steps=steps))
    return file


def started(file: Path, log: Path) -> subprocess.Popen:
    with log.open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "t5lite.cli.main", "sweep", str(file)],
            cwd=REPOSITORY, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_ends_in_a_table(text_data: Path, tmp_path: Path, capsys):
    directory = tmp_path / "sweep"
    file = sweep_file(tmp_path, text_data, steps=30)
    assert main(["sweep", str(file), "--list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("waiting") == 2
    assert not directory.exists()

    killed = started(file, tmp_path / "log")
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


@pytest.mark.slow
def test_two_processes_that_start_together_share_a_sweep(text_data: Path, tmp_path: Path):
    file, directory = sweep_file(tmp_path, text_data, steps=10), tmp_path / "sweep"
    logs = [tmp_path / f"log{number}" for number in range(2)]
    processes = [started(file, log) for log in logs]
    tables = []
    while any(each.poll() is None for each in processes):
        with contextlib.suppress(FileNotFoundError):
            tables.append(rows_of(directory / "table.csv"))
        time.sleep(0.02)
    said = [log.read_text() for log in logs]
    assert [each.returncode for each in processes] == [0, 0], said

    tables.append(rows_of(directory / "table.csv"))
    assert len(tables[-1]) == 2
    for earlier, later in itertools.pairwise(tables):
        assert 0 < len(earlier) <= len(later)
        assert all(any(row.items() <= each.items() for each in tables[-1]) for row in earlier)  # none in half
    assert set(Reading().tables(str(directory / "table.parquet"))[""].observations.params) == {
        float(row["params"]) for row in tables[-1]
    }
    for row in tables[-1]:
        run = directory / "runs" / row["run"]
        entries = read_metrics(run / "metrics.jsonl")
        assert [each["step"] for each in entries if each["kind"] == "train"] == list(range(1, 11))
        assert len(list((run / "ledger").iterdir())) == 1
    assert any("2 of 2 runs are finished" in text for text in said), said

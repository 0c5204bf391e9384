"""A run that is killed, terminated or interrupted goes on as if nothing had happened."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from t5lite.checkpointing.partial import restore_params
from t5lite.models.functional import build
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.attempts import End, read_attempts
from t5lite.training.goodput import lost_steps
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY, start

TIMING = {"step_seconds", "tokens_per_second", "input_stall", "mfu", "compile_seconds", "goodput"}


def _steps_logged(run: Path) -> int:
    file = run / "metrics.jsonl"
    if not file.is_file():
        return -1
    steps = [json.loads(line)["step"] for line in file.read_text().splitlines() if line.endswith("}")]
    return max(steps, default=-1)


def _wait_for_step(run: Path, step: int, process) -> None:
    deadline = time.monotonic() + 240
    while _steps_logged(run) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.02)


def _content(run: Path) -> list[dict]:
    """The metrics of every step, without what depends on the clock."""
    entries = [entry for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] != "start"]
    return [{k: v for k, v in entry.items() if k not in TIMING} for entry in entries]


def _params(run: Path) -> dict:
    directory = RunDirectory.at(run)
    model = build(directory.read_model()[0])
    return restore_params(directory.checkpoints, model.abstract_params)[0]


def _flat(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    leaves = {}
    for name, value in tree.items():
        leaves |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {prefix + name: np.asarray(value)}
        )
    return leaves


@pytest.fixture(scope="module")
def uninterrupted(train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in a process of its own, so with the same flags and devices as the killed ones."""
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start([*train_arguments, "--run-dir", str(run)])
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return run


KILLED = """
import os, signal, sys
from t5lite.cli.main import main
from t5lite.training.telemetry import Telemetry

killed_at, write_entry = int(sys.argv[1]), Telemetry.write_entry

def write_and_die(self):
    step = self._window.step
    write_entry(self)
    if step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)

Telemetry.write_entry = write_and_die
main(sys.argv[2:])
"""
"""Kills itself as soon as a step is logged: from outside, a busy machine may come too late for that."""


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [3, 17, 29])
def test_kill_9_and_restart_is_bitwise_the_uninterrupted_run(
    killed_at: int, train_arguments: list[str], uninterrupted: Path, tmp_path: Path
):
    run = tmp_path / "run"
    arguments = [*train_arguments, "--run-dir", str(run)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(killed_at), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert _steps_logged(run) == killed_at

    process = start(arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert _content(run) == _content(uninterrupted)
    attempts, _ = read_attempts(run)
    ends = [(each.end and each.end.reason, each.found_step, each.last_step) for each in attempts]
    assert ends == [(None, 0, ends[0][2]), ("finished", killed_at, 40)]
    assert lost_steps(*attempts) == killed_at - attempts[1].first_step
    expected, resumed = _flat(_params(uninterrupted)), _flat(_params(run))
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        assert value.tobytes() == resumed[name].tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, train_arguments: list[str], tmp_path: Path
):
    run = tmp_path / "run"
    long = ["--training.total-steps", "100000", "--checkpoints.save-every-steps", "100000"]
    arguments = [*train_arguments, "--run-dir", str(run), *long]
    process = start(arguments)
    _wait_for_step(run, 5, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir())
    assert f"stopped at step {saved}, saved; to go on: t5lite train --config" in errors
    assert str(run) in errors.splitlines()[-1]
    assert saved == _steps_logged(run)
    ((attempt,), _) = read_attempts(run)
    assert attempt.last_step == saved
    assert attempt.end == End(reason="preempted", exit_code=128 + number)

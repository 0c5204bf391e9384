"""A run that is killed, terminated or interrupted goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from t5lite.checkpointing.partial import restore_params
from t5lite.core.storage.addresses import place as place_of
from t5lite.models.functional import build
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.attempts import End, read_attempts
from t5lite.training.incidents import Incidents
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY, start

TIMING = {"step_seconds", "tokens_per_second", "input_stall", "mfu", "compile_seconds", "goodput"}
LEDGER = {"left_out_examples", *Incidents.__dataclass_fields__}
"""What entries say of the attempts before."""


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
    return [{k: v for k, v in entry.items() if k not in TIMING | LEDGER} for entry in entries]


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
import os, signal, sys, threading
from t5lite.cli.main import main
from t5lite.training.phases import Phases

left, delay = int(sys.argv[1]), float(sys.argv[2])
tell = Phases._tell

def tell_and_die(self):
    global left
    left -= 1
    tell(self)
    if left == 0:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

Phases._tell = tell_and_die
sys.exit(main(sys.argv[3:]))
"""
"""Kills itself a moment after some change of phase: from outside, a busy machine may come too late."""
NUM_KILLS = int(os.environ.get("T5LITE_KILLS", "3"))
_MAX_CHANGES, _MAX_DELAY_SECONDS = 150, 0.05


@pytest.mark.slow
@pytest.mark.parametrize("place", ["disk", "gcs"])
def test_a_run_that_is_killed_at_random_moments_is_bitwise_the_uninterrupted_one(
    place: str,
    request: pytest.FixtureRequest,
    train_arguments: list[str],
    uninterrupted: Path,
    tmp_path: Path,
) -> None:
    """In start-up, restores, compilation, steps, saves (and while they are written) and evaluations."""
    root = str(tmp_path) if place == "disk" else f"{request.getfixturevalue('gcs')}/killed"
    random = Random(place)
    killed, num_runs = list[int](), 1
    while len(killed) < NUM_KILLS:
        changes, delay = random.randint(1, _MAX_CHANGES), random.uniform(0, _MAX_DELAY_SECONDS)
        arguments = [*train_arguments, "--run-dir", f"{root}/run{num_runs}"]
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(changes), str(delay), *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
            text=True,
        )
        if process.returncode == -signal.SIGKILL:
            killed.append(changes)
            continue
        assert process.returncode == 0, f"after kills at {killed}: {process.stderr}"
        num_runs += 1  # it came to its end before it was to be killed
    process = start([*train_arguments, "--run-dir", f"{root}/run{num_runs}"])
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, f"after kills at {killed}: {errors}"
    expected = _flat(_params(uninterrupted))
    for number in range(1, num_runs + 1):
        run = place_of(f"{root}/run{number}")
        attempts, unread = read_attempts(run)
        assert not unread
        assert [each.end and each.end.reason for each in attempts] == [
            *[None] * (len(attempts) - 1),
            "finished",
        ]
        assert _content(run) == _content(uninterrupted), killed
        resumed = _flat(_params(run))
        assert expected.keys() == resumed.keys()
        for name, value in expected.items():
            assert value.tobytes() == resumed[name].tobytes(), (name, killed)


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


@pytest.mark.slow
@pytest.mark.fault(
    "whoever reads the messages of a training (terminal, `tee`, a pipe) goes away",
    "it trains on in silence",
    0,
)
def test_a_training_goes_on_when_nobody_reads_its_messages(train_arguments: list[str], tmp_path: Path):
    process = start([*train_arguments, "--run-dir", str(tmp_path / "run")])
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "run" / "checkpoints" / "40").is_dir()

"""One run writes to a directory, and all of its processes run the same, shown by real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from t5lite.checkpointing.lease import LEASE_FOLDER, LeaseConfig, held_lease
from t5lite.cli.main import main
from tests.e2e.conftest import REPOSITORY, contents, start

QUICK = ["--lease.heartbeat-seconds", "0.2", "--lease.deadline-seconds", "2"]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _names(folder: Path) -> set[str]:
    """All that lies in a folder, but for a sign of life that its holder is about to give its name."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith(".")}


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


SUSPENDED = """
import os, signal, sys
from t5lite.cli.main import main
from t5lite.training.telemetry import Telemetry

write_entry = Telemetry.write_entry

def wait_and_write(self):
    if self._window.step == 3:
        open(sys.argv[1], "w").close()
        os.kill(os.getpid(), signal.SIGSTOP)
    write_entry(self)

Telemetry.write_entry = wait_and_write
sys.exit(main(sys.argv[2:]))
"""
"""Writes metrics, is suspended as it is about to write more, and goes on to do so when it wakes up."""


@pytest.mark.fault("a suspended run wakes up after another took over", "ends before it writes anything", 2)
@pytest.mark.slow
def test_a_run_that_is_suspended_is_replaced_when_it_is_taken_for_dead_and_then_writes_no_more(
    train_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, suspended = tmp_path / "run", tmp_path / "suspended"
    process = subprocess.Popen(
        [sys.executable, "-c", SUSPENDED, str(suspended), *train_arguments, "--run-dir", str(run), *QUICK],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(suspended.exists, process)
        assert main([*train_arguments, "--run-dir", str(run), *QUICK]) == 0
        assert f"taking over from process {process.pid}" in capfd.readouterr().err
        before = contents(run)
        wait_until(lambda: "T" in _state(process.pid), process)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2, errors
        assert "this run no longer holds" in errors
        assert contents(run) == before
        assert not (run / LEASE_FOLDER).exists()
    finally:
        process.kill()


@pytest.mark.fault(
    "a second run writes to the same directory",
    "refused with who holds it, after one sign of life of that run (10 s at most); nothing changes",
    2,
)
@pytest.mark.slow
def test_a_second_training_is_refused_and_changes_nothing(
    train_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with held_lease(run, LeaseConfig(heartbeat_seconds=0.2), print):
        before = _names(run)
        assert main([*train_arguments, "--run-dir", str(run), "--seed", "1"]) == 2
        assert f"{run} is being written to by process {os.getpid()} on {socket.gethostname()}" in (
            capfd.readouterr().err
        )
        assert _names(run) == before


@pytest.mark.fault(
    "processes of a run differ in configuration, code, versions or data",
    "refused in all of them with what differs where, before anything is written",
    2,
)
@pytest.mark.slow
def test_processes_that_differ_are_refused_before_anything_is_written(
    train_arguments: list[str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
    run = tmp_path / "run"
    processes = [
        start([*train_arguments, "--run-dir", str(run), *together, str(n), "--seed", str(n)])
        for n in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 2, errors
        assert "process 1 of 2 differs from process 0 in seed: 0 → 1" in errors
    assert not run.exists()


@pytest.mark.fault("the run directory is a local one of each host", "refused in all processes", 2)
@pytest.mark.slow
def test_a_directory_of_each_host_is_refused(train_arguments: list[str], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
    hosts = [tmp_path / f"host{n}" for n in range(2)]
    for host in hosts:
        host.mkdir()
    # One path, of which each process sees its own place, as it is with a disk of each host.
    processes = [
        start([*train_arguments, "--run-dir", "/proc/self/cwd/run", *together, str(n)], cwd=host)
        for n, host in enumerate(hosts)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 2, errors
        assert "is not one directory for all: process 1 of 2 does not see what process 0 wrote" in errors
    assert not any(path.exists() for host in hosts for path in host.iterdir())


@pytest.mark.fault(
    "three attempts of one job break off at the same step",
    "not started a fourth time: says where and how they ended; another job, or a start by hand, goes on",
    2,
)
def test_a_job_that_breaks_off_at_one_step_again_and_again_is_not_started_once_more(
    train_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError(7)

    monkeypatch.setenv("T5LITE_JOB", "base-1")
    for costly in ("_compile", "_evaluate"):
        monkeypatch.setattr(f"t5lite.training.loop._Loop.{costly}", lambda *_: None)
    monkeypatch.setattr("t5lite.training.loop._Loop._run_step", fail)
    train = [*train_arguments, "--run-dir", str(tmp_path / "run")]
    with pytest.raises(IndexError):
        main(train)
    ledger = tmp_path / "run" / "ledger"
    first = json.loads((ledger / "000001.json").read_text())
    for number in (2, 3):
        (ledger / f"{number:06d}.json").write_text(json.dumps({**first, "number": number}))
    monkeypatch.setattr("t5lite.runner.joining._check_same_directory", fail)
    capfd.readouterr()
    assert main(train) == 2
    said = "attempts 1, 2 and 3 of T5LITE_JOB=base-1 all broke off at step 0, the last one IndexError: 7: "
    assert said in capfd.readouterr().err
    monkeypatch.setenv("T5LITE_JOB", "base-2")
    with pytest.raises(IndexError):
        main(train)

"""One run writes to a directory, and all of its processes run the same, shown by real processes."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from t5lite.checkpointing.lease import LEASE_FOLDER
from t5lite.cli.main import main
from tests.e2e.conftest import contents, start
from tests.e2e.test_interruptions import _wait_for_step

ENDLESS = [
    *("--training.total-steps", "1000000", "--evaluation.store", "None"),
    # None is under way when the run is suspended: that one would be finished after it.
    *("--checkpoints.save-every-steps", "1000000"),
]
QUICK = ["--lease.heartbeat-seconds", "0.2", "--lease.deadline-seconds", "2"]


@pytest.fixture
def writer(train_arguments: list[str], tmp_path: Path):
    """A training that goes on until it is ended."""
    run = tmp_path / "run"
    process = start([*train_arguments, "--run-dir", str(run), *ENDLESS, *QUICK])
    try:
        _wait_for_step(run, 2, process)
        yield process, run
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_second_training_is_refused_until_the_first_is_suspended_which_then_writes_no_more(
    writer: tuple[subprocess.Popen[str], Path], train_arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    process, run = writer
    config = (run / "config.json").read_bytes()
    assert main(["train", *train_arguments[1:], "--run-dir", str(run), "--seed", "1", *ENDLESS, *QUICK]) == 2
    errors = capfd.readouterr().err
    assert f"{run} is being written to by process {process.pid} on {socket.gethostname()}" in errors
    assert process.poll() is None
    assert (run / "config.json").read_bytes() == config

    process.send_signal(signal.SIGSTOP)
    steps = ["--training.total-steps", "20", "--evaluation.store", "None", *QUICK]
    assert main(["train", *train_arguments[1:], "--run-dir", str(run), *steps]) == 0
    assert f"taking over from process {process.pid}" in capfd.readouterr().err
    before = contents(run)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert "this run no longer holds" in errors
    assert contents(run) == before
    assert not (run / LEASE_FOLDER).exists()


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

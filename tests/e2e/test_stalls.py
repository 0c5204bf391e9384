"""Runs whose workers, terminals or other processes stall, close or die: each ends in time, with its code."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.training.metrics_log import read_metrics
from t5lite.training.watchdog import STACKS_FOLDER
from tests.e2e.conftest import REPOSITORY
from tests.e2e.test_interruptions import _steps_logged

pytestmark = pytest.mark.slow
ENDLESS = [
    *("--training.total-steps", "100000", "--training.eval-every-steps", "None"),
    *("--checkpoints.save-every-steps", "100000"),
]
COMMAND = ("-m", "t5lite.cli.main")


@contextlib.contextmanager
def running(
    arguments: list[str], errors: Path, program: Sequence[str] = COMMAND
) -> Iterator[subprocess.Popen]:
    """A ``t5lite`` in a session of its own, of which nothing is left at the end."""
    command = [sys.executable, *program, *arguments]
    with errors.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_step(run: Path, step: int, process: subprocess.Popen, *errors: Path) -> None:
    deadline = time.monotonic() + 240
    while _steps_logged(run) < step:
        told = [file.read_text() for file in errors]
        assert process.poll() is None, told
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def stop_its_worker(process: subprocess.Popen) -> int:
    """SIGSTOP the data worker of ``process``, as a full machine or a debugger would."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()  # a thread started the worker
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    (worker,) = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(worker, signal.SIGSTOP)
    return worker


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.fault(
    "a data worker or the store stalls",
    'ended after `watchdog.input_seconds`: "the input stalls", with all stacks',
    76,
)
def test_a_worker_that_stalls_is_told_from_a_device_and_ends_the_run(train_arguments, tmp_path):
    run, errors = tmp_path / "run", tmp_path / "errors.txt"
    options = ["--loader.num-workers", "1", "--watchdog.input-seconds", "20"]
    with running([*train_arguments, *ENDLESS, "--run-dir", str(run), *options], errors) as process:
        wait_for_step(run, 3, process, errors)
        worker = stop_its_worker(process)
        assert process.wait(timeout=120) == 76, errors.read_text()
        assert is_gone(worker)
    (stacks,) = (run / STACKS_FOLDER).iterdir()
    for text in (errors.read_text(), stacks.read_text()):
        assert "is in the phase 'input'" in text
        assert "the input stalls (a data worker, its store or the network), not the devices" in text
        assert "thread device_batches:" in text


@pytest.mark.fault(
    "SIGTERM comes while the data stalls", "the state is saved; the stalled workers are killed", 143
)
def test_sigterm_is_honoured_while_data_stalls(train_arguments, tmp_path):
    run, errors = tmp_path / "run", tmp_path / "errors.txt"
    arguments = [*train_arguments, *ENDLESS, "--run-dir", str(run), "--loader.num-workers", "1"]
    with running(arguments, errors) as process:
        wait_for_step(run, 3, process, errors)
        worker = stop_its_worker(process)
        process.terminate()
        assert process.wait(timeout=120) == 128 + signal.SIGTERM, errors.read_text()
        assert is_gone(worker)
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    assert saved == _steps_logged(run)


IN_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests may ignore it
os.open(sys.argv[1], os.O_RDWR)  # becomes the terminal of the session
os.execv(sys.executable, [sys.executable, "-m", "t5lite.cli.main", *sys.argv[2:]])
"""


@pytest.mark.fault("the terminal closes (SIGHUP; not under `nohup`)", "the state is saved", 129)
def test_a_terminal_that_closes_loses_no_step(train_arguments, tmp_path):
    run, (near, far) = tmp_path / "run", os.openpty()
    arguments = [os.ttyname(far), *train_arguments, *ENDLESS, "--run-dir", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *arguments],
        **{"cwd": REPOSITORY, "start_new_session": True, "stdin": far, "stdout": far, "stderr": far},
    )
    os.close(far)
    try:
        wait_for_step(run, 3, process)
    finally:
        os.close(near)  # the kernel then sends SIGHUP
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    assert saved == _steps_logged(run)


@contextlib.contextmanager
def started_together(
    arguments: list[str], tmp_path: Path, programs: Sequence[Sequence[str]] = (COMMAND, COMMAND)
) -> Iterator[list[tuple[subprocess.Popen, Path]]]:
    """A run of two processes, and the files of what they say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = [*arguments, "--coordinator-address", address, "--num-processes", "2", "--process-id"]
    files = [tmp_path / f"errors-{index}.txt" for index in range(2)]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(running([*arguments, str(index)], file, program))
            for index, (file, program) in enumerate(zip(files, programs, strict=True))
        ]
        yield list(zip(both, files, strict=True))


@contextlib.contextmanager
def two_processes(train_arguments: list[str], tmp_path: Path, *options: str) -> Iterator[list]:
    """A run of two processes that has done three steps, and the files of what they say."""
    run = tmp_path / "run"
    arguments = [*train_arguments, *ENDLESS, "--run-dir", str(run), *options]
    with started_together(arguments, tmp_path) as both:
        wait_for_step(run, 3, both[0][0], *[file for _, file in both])
        yield both


IN_EVALUATION = """
import os, signal
from t5lite.cli.main import run_as_process
from t5lite.training.loop import _Loop
from t5lite.training.phases import Phases

evaluate, progress, num_batches_left = _Loop._evaluate, Phases.progress, 0

def begin(self, evaluations):
    global num_batches_left
    num_batches_left = 3 if self.step == 20 else 0
    evaluate(self, evaluations)

def count(self):
    global num_batches_left
    progress(self)
    num_batches_left -= 1
    if num_batches_left == 0:
        os.kill(os.getpid(), signal.SIGTERM)

_Loop._evaluate, Phases.progress = begin, count
run_as_process()
"""
"""Gets SIGTERM within the evaluation after step 20."""


@pytest.mark.fault(
    "SIGTERM comes to one of several processes within an evaluation",
    "all stop at the same place and save; the next start makes up for the evaluation",
    143,
)
def test_sigterm_to_one_process_in_an_evaluation_stops_both_at_one_step(train_arguments, tmp_path):
    run = tmp_path / "run"
    arguments = [*train_arguments, "--run-dir", str(run), "--evaluations.heldout.max-examples", "160"]
    arguments += ["--evaluations.heldout.store", arguments[arguments.index("--data.store") + 1]]
    with started_together(arguments, tmp_path, (COMMAND, ["-c", IN_EVALUATION])) as both:
        for process, errors in both:
            assert process.wait(timeout=600) == 128 + signal.SIGTERM, errors.read_text()
        told = [errors.read_text() for _, errors in both]
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    assert f"stopped at step {saved}, saved; to go on (on every process)" in told[0]
    assert ["SIGTERM: stopping and saving" in each for each in told] == [False, True]
    assert saved == _steps_logged(run)
    assert main(arguments) == 0
    entries = read_metrics(run / "metrics.jsonl")
    steps = {
        kind: [entry["step"] for entry in entries if entry["kind"] == kind] for kind in ("train", "eval")
    }
    assert steps == {"train": list(range(1, 41)), "eval": [0, 20, 40]}


@pytest.mark.fault(
    "one of several processes stalls",
    "the others end after `watchdog.step_seconds`, or `joining.silent_seconds` where no heartbeat comes",
    "76, 75",
)
def test_a_process_that_stalls_ends_the_others(train_arguments, tmp_path):
    with two_processes(train_arguments, tmp_path, "--watchdog.step-seconds", "10") as (stays, stalls):
        stalls[0].send_signal(signal.SIGSTOP)
        assert stays[0].wait(timeout=120) == 76, stays[1].read_text()
        assert "is in the phase 'step'" in stays[1].read_text()


@pytest.mark.fault(
    "one of several processes is killed",
    "the others end at once where a collective breaks, else after `joining.silent_seconds` (60 s)",
    75,
)
def test_a_process_that_is_killed_ends_the_others(train_arguments, tmp_path):
    with two_processes(train_arguments, tmp_path) as (stays, dies):
        dies[0].kill()
        assert stays[0].wait(timeout=120) == 75, stays[1].read_text()
        assert "another process of th" in stays[1].read_text()


@pytest.mark.fault(
    "a process of several does not come, or the coordinator is not there",
    "the others end after `joining.join_seconds` (300 s)",
    75,
)
def test_a_process_that_never_comes_is_not_waited_for_for_ever(train_arguments, tmp_path):
    errors = tmp_path / "errors.txt"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [*train_arguments, "--run-dir", str(tmp_path / "run"), "--joining.join-seconds", "2"]
        arguments += ["--coordinator-address", address, "--num-processes", "2", "--process-id", "1"]
        with running(arguments, errors) as process:
            assert process.wait(timeout=120) == 75
    assert errors.read_text().endswith("exit code 75: start all of them again\n")

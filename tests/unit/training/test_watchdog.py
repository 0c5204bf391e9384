"""A process that is stuck is ended, whatever it is stuck in."""

import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.core.errors import ConfigError
from t5lite.core.exit_codes import ExitCode
from t5lite.training.phases import Phases
from t5lite.training.watchdog import STACKS_FOLDER, Watchdog, WatchdogConfig

STUCK = """
import ctypes, sys
from pathlib import Path
from t5lite.training.phases import Phases
from t5lite.training.watchdog import Watchdog, WatchdogConfig

def stuck_in_native_code():
    ctypes.CDLL(None).pause()

phases = Phases()
config = WatchdogConfig(compile_seconds=0.2, step_seconds=0.2, input_seconds=0.2)
with Watchdog(phases, config, Path(sys.argv[1])), phases.enter(sys.argv[2]):
    stuck_in_native_code()
"""


def stuck(directory: Path, phase: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STUCK, str(directory), phase]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("phase", "reason"), [("input", "the input stalls"), ("step", "a device, or another process")]
)
def test_a_stall_in_native_code_ends_with_its_reason_and_the_stacks(tmp_path, phase, reason):
    ended = stuck(tmp_path, phase)
    assert ended.returncode == ExitCode.HANG, ended.stderr
    assert f"is in the phase '{phase}' for 0 s (watchdog.{phase}_seconds=0.2): {reason}" in ended.stderr
    (stacks,) = (tmp_path / STACKS_FOLDER).iterdir()
    for text in (ended.stderr, stacks.read_text()):
        assert "thread MainThread:\n  <string>:8 in stuck_in_native_code\n" in text


def test_the_stacks_are_kept_where_nobody_reads_the_messages(tmp_path):
    command = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", STUCK, str(tmp_path), "step"]
    assert subprocess.run(command, timeout=60, check=False).returncode == ExitCode.HANG
    (stacks,) = (tmp_path / STACKS_FOLDER).iterdir()
    assert "in stuck_in_native_code" in stacks.read_text()


def test_a_run_directory_that_cannot_be_written_keeps_no_process_alive(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the place of the directory")
    ended = stuck(file, "step")
    assert ended.returncode == ExitCode.HANG
    assert "in stuck_in_native_code" in ended.stderr


ALIVE = """
import sys, time
from pathlib import Path
from t5lite.training.phases import Phases
from t5lite.training.watchdog import Watchdog, WatchdogConfig

phases = Phases()
with Watchdog(phases, WatchdogConfig(step_seconds=1.0, evaluation_seconds=1.0), Path(sys.argv[1])):
    for _ in range(10):
        with phases.enter("step"):
            time.sleep(0.12)
    with phases.enter("evaluation"):
        for _ in range(10):
            phases.progress()
            time.sleep(0.12)
"""


def test_work_that_begins_anew_is_never_stuck(tmp_path):
    subprocess.run([sys.executable, "-c", ALIVE, str(tmp_path)], timeout=60, check=True)
    assert not (tmp_path / STACKS_FOLDER).exists()


def test_waiting_for_the_step_under_way_is_a_part_of_it_and_no_step(tmp_path, monkeypatch):
    """Else two short ones would stand for each step that a save follows, and halve what is typical."""
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    phases = Phases()
    watchdog = Watchdog(phases, WatchdogConfig(step_seconds=1.0), tmp_path)
    phases.observe(watchdog._enter_phase)
    for _ in range(5):
        with phases.enter("input"):
            seconds[0] += 9
        for _ in range(2):  # it is dispatched, and then waited for
            with phases.enter("step"):
                seconds[0] += 5
        with phases.enter("save"):
            seconds[0] += 9
    assert list(watchdog._steps) == [10.0] * 5
    assert watchdog._limit("step") == 200.0


def test_a_deadline_is_positive_or_none():
    assert WatchdogConfig(save_seconds=None).seconds("save") is None
    with pytest.raises(ConfigError, match=r"watchdog\.input_seconds=0 must be positive, or None"):
        WatchdogConfig(input_seconds=0)

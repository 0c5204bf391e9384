"""The exit codes that schedulers act upon."""

import subprocess
import sys
from collections.abc import Callable
from typing import ClassVar

import jax
import pytest

from t5lite.cli.main import main, run_as_process
from t5lite.core import process_end
from t5lite.core.errors import NumbersError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning import multihost


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    again = {code for code in ExitCode if code.restarts}
    assert again == {ExitCode.TRANSIENT, ExitCode.HANG, ExitCode.HANGUP, ExitCode.TERMINATED}


def test_an_error_says_how_the_command_ends() -> None:
    codes = [error.exit_code for error in (UserError, NumbersError, TransientError)]
    assert codes == [2, 4, 75]


class _Timer:
    """Stands for ``threading.Timer``: nothing is started; ``bounds`` has what was to be."""

    bounds: ClassVar[list[tuple[float, int]]] = []

    def __init__(self, seconds: float, ends: Callable[[int], None], arguments: tuple[int]) -> None:
        assert ends is process_end.end_now
        self.bounds.append((seconds, *arguments))

    def start(self) -> None:
        assert self.daemon


@pytest.mark.parametrize("silent_seconds", [1, 60, 100, 100_000])
def test_a_command_that_is_done_ends_though_a_thread_does_not(
    silent_seconds: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orbax leaves some where a save could not begin, which wait for minutes, and Python for them.

    JAX is given the time that it waits for the other processes at the end.
    """
    monkeypatch.setattr(process_end, "_waits", [])
    monkeypatch.setattr(process_end.threading, "Timer", _Timer)
    monkeypatch.setattr(_Timer, "bounds", [])
    monkeypatch.setattr("sys.argv", ["t5lite", "--version"])
    monkeypatch.setattr("t5lite.cli.main.show_notices", lambda: lambda: None)  # else for good
    assert main() == 0
    assert not _Timer.bounds  # whoever calls it goes on
    with pytest.raises(SystemExit) as ended:
        run_as_process()
    assert ended.value.code == 0
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: None)
    monkeypatch.setattr(multihost, "end_aborts_as_transient", lambda: None)
    where = {"coordinator_address": "10.0.0.2:8476", "num_processes": 4, "process_id": 3}
    multihost.initialize(**where, config=multihost.JoiningConfig(silent_seconds=silent_seconds))
    process_end.end_soon(0)
    process_end.end_soon(143)
    (alone, code), (among_others, code_there), (failed, signalled) = _Timer.bounds
    assert (code, code_there, signalled) == (0, 0, 143)
    assert alone < 120
    assert alone + silent_seconds == among_others
    assert failed < 10
    capsys.readouterr()


ENDLESS = """
import sys, threading
from t5lite.cli import main, models_command

def run(arguments):
    threading.Thread(target=threading.Event().wait).start()
    sys.stdout.write("said before")
    raise ZeroDivisionError

models_command.run = run
main.run_as_process()
"""


@pytest.mark.slow
def test_a_bug_ends_too_though_a_thread_does_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS, "models"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (1, "said before")
    assert done.stderr.endswith("ZeroDivisionError\n")

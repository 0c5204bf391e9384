"""The exit codes that schedulers act upon."""

import pytest

from t5lite.cli.main import main, run_as_process
from t5lite.core.errors import NumbersError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning.multihost import JoiningConfig


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    again = {code for code in ExitCode if code.restarts}
    assert again == {ExitCode.TRANSIENT, ExitCode.HANG, ExitCode.HANGUP, ExitCode.TERMINATED}


def test_an_error_says_how_the_command_ends() -> None:
    codes = [error.exit_code for error in (UserError, NumbersError, TransientError)]
    assert codes == [2, 4, 75]


def test_a_command_that_is_done_ends_though_a_thread_does_not(monkeypatch, capsys):
    """Orbax leaves some where a save could not begin, which wait for minutes, and Python for them."""
    bounds: list[tuple[float, int]] = []
    monkeypatch.setattr("t5lite.cli.main.end_within", lambda *bound: bounds.append(bound))
    monkeypatch.setattr("sys.argv", ["t5lite", "--version"])
    assert main() == 0
    assert not bounds  # whoever calls it goes on
    with pytest.raises(SystemExit) as ended:
        run_as_process()
    assert ended.value.code == 0
    ((seconds, code),) = bounds
    assert code == 0
    assert seconds > JoiningConfig().silent_seconds
    capsys.readouterr()

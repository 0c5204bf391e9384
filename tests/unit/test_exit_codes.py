"""The exit codes that schedulers act upon."""

from t5lite.core.errors import NumbersError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    again = {code for code in ExitCode if code.restarts}
    assert again == {ExitCode.TRANSIENT, ExitCode.HANG, ExitCode.HANGUP, ExitCode.TERMINATED}


def test_an_error_says_how_the_command_ends() -> None:
    codes = [error.exit_code for error in (UserError, NumbersError, TransientError)]
    assert codes == [2, 4, 75]

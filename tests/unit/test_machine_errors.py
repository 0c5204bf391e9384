"""Whose fault an error is: the user's, the machine's for now, or a bug."""

import errno

import pytest

from t5lite.core.errors import DataError, NumbersError, UserError
from t5lite.core.machine_errors import description, exit_code


def raised_from(cause: Exception) -> DataError:
    error = DataError("the store cannot be read")
    error.__cause__ = cause
    return error


@pytest.mark.fault(
    "a full disk or quota, an I/O error, a file server or network that fails",
    "told in one line; finished checkpoints stay",
    75,
)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no"), 2),
        (NumbersError("NaN"), 4),
        (OSError(errno.ENOSPC, "full"), 75),
        (OSError(errno.EIO, "broken"), 75),
        (TimeoutError("slow"), 75),
        (ConnectionResetError("gone"), 75),
        (PermissionError(errno.EACCES, "denied"), 2),
        (OSError(errno.EROFS, "read-only"), 2),
        (FileNotFoundError(errno.ENOENT, "a bug of ours"), None),
        (ZeroDivisionError(), None),
        (raised_from(FileNotFoundError(errno.ENOENT, "missing")), 2),
        (raised_from(OSError(errno.EIO, "broken")), 75),
        (raised_from(raised_from(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))), 75),
    ],
)
def test_what_the_machine_refused_for_now_is_transient_wherever_it_is_told(error, code):
    assert exit_code(error) == code


@pytest.mark.fault("no permission, a read-only place, a limit on file sizes", "told in one line", 2)
def test_an_error_of_the_operating_system_names_its_file():
    told = description(OSError(errno.ENOSPC, "No space left on device", "/run/config.json"))
    assert told.startswith("/run/config.json: No space left on device; check free space")

"""Which errors are the machine's: what the operating system refuses, and whether another start can go on."""

import errno

from t5lite.core.errors import ReportedError
from t5lite.core.exit_codes import ExitCode

_TRANSIENT = frozenset(
    {
        # A disk or a quota that is full was filled by anybody, and another machine or a little room helps;
        # the scheduler bounds how often it tries.
        *(errno.ENOSPC, errno.EDQUOT),
        # The disk, the file server or the network.
        *(errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        *(errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ECONNRESET),
        *(errno.ECONNREFUSED, errno.ECONNABORTED, errno.EADDRINUSE, errno.EPIPE),
        # Memory, processes or files of the whole machine.
        *(errno.ENOMEM, errno.EAGAIN, errno.ENFILE, errno.EBUSY),
    }
)
_THE_USERS = frozenset(
    {
        *(errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENAMETOOLONG),
        *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO),
    }
)


def is_transient(error: BaseException) -> bool:
    """Return whether ``error`` is one of the machine's, its disk's or its network's that may pass."""
    return isinstance(error, OSError) and (
        error.errno in _TRANSIENT or isinstance(error, (TimeoutError, ConnectionError))
    )


def exit_code(error: Exception) -> ExitCode | None:
    """Return how a command ends with ``error``; None for a bug, which keeps its traceback.

    What an error was raised from counts: an unreadable file is the user's where there is none, and the
    machine's where the disk failed.
    """
    if isinstance(error, ReportedError):
        cause: BaseException | None = error
        while cause is not None:
            if is_transient(cause):
                return ExitCode.TRANSIENT
            cause = cause.__cause__
        return error.exit_code
    if is_transient(error):
        return ExitCode.TRANSIENT
    if isinstance(error, OSError) and error.errno in _THE_USERS:
        return ExitCode.USER_ERROR
    return None


def description(error: Exception) -> str:
    """Return the one line that tells of ``error``: its message, or what the operating system said."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; check free space, permissions and limits, then run again"
    return str(error)

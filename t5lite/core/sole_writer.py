"""A file on a disk that one process writes at a time; who is killed holds it no longer."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from t5lite.core.errors import UserError


@contextlib.contextmanager
def sole_writer(path: Path, *, becomes: Path) -> Iterator[int]:
    """Yield a descriptor of ``path``, made where it is missing; it goes if an error leaves it empty.

    File systems without locks let several in.

    Args:
      path: the file.
      becomes: the name that it is given in the end.

    Raises:
      UserError: if another process writes it, or has given it its name since ``becomes`` was looked for.
      OSError: if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, fcntl.LOCK_EX, path)
        try:
            if becomes.exists() or not _is_named(descriptor, path):
                raise UserError(f"{becomes} was written by another process meanwhile; give another name")
            yield descriptor
        except BaseException:
            if _is_named(descriptor, path) and not os.fstat(descriptor).st_size:
                path.unlink()
            raise
    finally:
        os.close(descriptor)


def check_no_writer(path: Path) -> None:
    """Check that no process writes ``path``, before long work.

    Raises:
      UserError: if one does.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        _lock(stream.fileno(), fcntl.LOCK_SH, path)


def _lock(descriptor: int, kind: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{path} is being written by another process; wait until that has ended, or give another name"
        ) from None
    except OSError:
        pass  # the file system has no locks


def _is_named(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False

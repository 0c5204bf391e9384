"""Hidden directories in which a directory is made, and those that killed commands left.

Who makes one holds a lock (``flock``) on it, which the kernel releases when the process is gone, however it
ended. So what is not locked was left, and may be deleted; on a file system without such locks nothing is. The
name says the host, since the locks of some shared file systems are known to one host only.
"""

import contextlib
import enum
import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OLD = "old-"


class _Lock(enum.Enum):
    MINE = enum.auto()
    TAKEN = enum.auto()
    UNKNOWN = enum.auto()  # the file system has none


@contextlib.contextmanager
def temporary_directory(path: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new directory beside ``path``, deleted after an error; else it should have another name then.

    Its permissions are ``mode``, less the user's umask.

    Raises:
      OSError: if it cannot be made.
    """
    while True:
        made = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}")
        made.mkdir(mode)
        with _locked(made) as lock:
            if lock is _Lock.TAKEN:  # who deletes what was left was faster than we
                continue
            try:
                yield made
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            return


@contextlib.contextmanager
def set_aside(path: Path) -> Iterator[Path]:
    """Rename the directory ``path`` and yield its hidden name; the block decides what becomes of it."""
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{_prefix(path)}{_OLD}"))
    with _locked(path):
        try:
            os.replace(path, aside)
        except BaseException:
            aside.rmdir()
            raise
        yield aside


def left_behind(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield (directory, whether it was once ``path``) of what killed commands left beside ``path``.

    Each is locked until the next one is asked for.
    """
    prefix = _prefix(path)
    try:
        names = sorted(name for name in os.listdir(path.parent) if name.startswith(prefix))
    except OSError:
        return
    for name in names:
        with _locked(path.with_name(name)) as lock:
            if lock is _Lock.MINE:
                yield path.with_name(name), name.startswith(f"{prefix}{_OLD}")


def _prefix(path: Path) -> str:
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".{path.name}.{host}."


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[_Lock]:
    """Hold the lock on a directory for the block, if it can be had; one that is gone is another's."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield _Lock.TAKEN
        return
    except OSError:
        yield _Lock.UNKNOWN
        return
    try:
        lock = _Lock.MINE
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock = _Lock.TAKEN
        except OSError:
            lock = _Lock.UNKNOWN
        yield lock if directory.exists() else _Lock.TAKEN
    finally:
        os.close(handle)

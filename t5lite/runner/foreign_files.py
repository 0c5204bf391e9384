"""What is somebody else's in a directory that is to become a run: a run has a directory of its own.

Whoever starts over deletes it, and what lies beside a run's files is taken for the run's.
"""

import contextlib
from collections.abc import Collection

from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import StoragePath

_LOGS = (".log", ".out", ".err")
"""Whoever starts a run may write what it prints beside it."""
_OF_A_DISK = ("lost+found",)
_SHOWN = 3


def check_holds_no_others(directory: StoragePath, *, own: Collection[str], marks: Collection[str]) -> None:
    """Check that a directory is a run, or holds nothing but what a start of one leaves, and logs.

    Args:
      directory: that a run is to be written to; it need not be there.
      own: names of a run's files and folders.
      marks: those of them that make it a run.

    Raises:
      ConfigError: if it holds anything else.
    """
    names = set[str]()
    with contextlib.suppress(FileNotFoundError):
        names = {path.name for path in directory.iterdir()}
    if names.intersection(marks):
        return
    others = sorted(
        name for name in names.difference(own, _OF_A_DISK) if not _may_stay(directory / name, own)
    )
    if not others:
        return
    shown = ", ".join(others[:_SHOWN])
    more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
    raise ConfigError(
        f"run_dir={directory} is not a run (no model.json) and holds {shown}{more}; give the run a directory "
        f"of its own, such as {directory / 'new'}"
    )


def _may_stay(path: StoragePath, own: Collection[str]) -> bool:
    """Return whether it is a log, or a temporary file of a write that was cut off."""
    of_own = any(path.name.startswith(f".{name}.") for name in own)
    return of_own or (path.suffix in _LOGS and path.is_file())

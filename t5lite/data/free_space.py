"""What to tell a user whose disk is full: how much is there, and roughly how much is needed."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t5lite.core.errors import ReportedError, TransientError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def naming_free_space(
    folder: Path, *, needed_bytes: int, remedy: str = "nothing was left behind"
) -> Iterator[None]:
    """Turn a full disk within the block into an error that says what is free and what is needed.

    Args:
      folder: where the block writes.
      needed_bytes: an estimate of what it writes in all.
      remedy: what is left, or what to do next.

    Raises:
      TransientError: for a full disk; other errors pass.
    """
    try:
        yield
    except (OSError, ReportedError) as error:
        # What core.files could not write is a ReportedError by now.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
        free = size(shutil.disk_usage(existing).free)
        raise TransientError(
            f"the disk of {folder} is full ({cause.strerror}): {free} are free, "
            f"about {size(needed_bytes)} are needed in all; free some space or write elsewhere; {remedy}"
        ) from error


def size(num_bytes: int) -> str:
    """Return ``num_bytes`` for people, such as ``1.5 GiB``."""
    value, unit = float(num_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{num_bytes} bytes" if unit == "bytes" else f"{value:.1f} {unit}"

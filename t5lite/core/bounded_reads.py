"""Reading files that others made, which may be larger than any that is meant, endless, or no files at all."""

import errno
import os
import stat
from typing import IO, Any

from t5lite.core.storage.addresses import ReadablePath, is_remote

_BLOCK_BYTES = 1 << 20


class UnfitFileError(OSError):
    """No such file as is meant: to read it may wait for a writer for ever, never end, or fill the memory."""


def open_regular(path: ReadablePath) -> IO[Any]:
    """Open a file to read its bytes, without ever waiting for it.

    Raises:
      UnfitFileError: for a pipe, a socket or a device.
      OSError: if there is none, or it cannot be read.
    """
    if not is_remote(path):
        check_regular(path)
    return path.open("rb")


def read_at_most(path: ReadablePath, max_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
      UnfitFileError: also if it has more than ``max_bytes``: no more than that is in memory.
      OSError: as of ``open_regular``.
    """
    content = bytearray()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            content += block
            if len(content) > max_bytes:
                reason = f"it has more than {max_bytes >> 20} MiB, which no such file needs"
                raise UnfitFileError(errno.EFBIG, reason, str(path))
    return bytes(content)


def check_regular(path: os.PathLike[str]) -> None:
    """Check that a local path is no pipe, socket or device.

    Raises:
      UnfitFileError: if it is one.
      OSError: if there is nothing.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnfitFileError(errno.ENXIO, "it is a pipe, a socket or a device, not a file", str(path))

"""Reading whole files that others made, which may be larger than any that is meant, or endless."""

import errno
from typing import IO, Any

from t5lite.core.storage.addresses import ReadablePath

_BLOCK_BYTES = 1 << 20


def read_at_most(path: ReadablePath, max_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
      OSError: if it cannot be read, or has more than ``max_bytes``: no more than that is in memory.
    """
    content = bytearray()
    opened: IO[Any] = path.open("rb")
    with opened as stream:
        while block := stream.read(_BLOCK_BYTES):
            content += block
            if len(content) > max_bytes:
                reason = f"it has more than {max_bytes >> 20} MiB, which no such file needs"
                raise OSError(errno.EFBIG, reason, str(path))
    return bytes(content)

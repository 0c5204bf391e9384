"""Files that grow, on a disk that may be full for a while: what it does not take is written later."""

import logging
import os
from collections import deque
from pathlib import Path

from t5lite.core.errors import TransientError

_LOG = logging.getLogger(__name__)
MAX_KEPT_BYTES = 1 << 22
"""What is kept in memory of one file; the metrics of some ten thousand entries."""


class GrowingFile:
    """Records that are appended to a file; each is with the operating system at once, if that takes it.

    Where it does not (the disk is full, the server is away), this is said once, what was appended is kept,
    and it is tried again with the next record. Of more than 4 MiB the newest records are left out, and
    counted. A record of which the disk took a part is completed: no reader finds half of one amid others.

    Args:
      path: of the file; what is in it stays.
      keeps: whether to keep what is not written; else the error is raised.
    """

    def __init__(self, path: Path, *, keeps: bool = True) -> None:
        self._path, self._keeps = path, keeps
        self._stream = path.open("ab", buffering=0)
        self._unwritten: deque[bytes] = deque()
        self._num_bytes = self._num_lost = 0
        self._error: OSError | None = None

    def append(self, record: bytes) -> None:
        """Append a whole record."""
        if self._num_bytes + len(record) > MAX_KEPT_BYTES and self._unwritten:
            self._num_lost += 1
        else:
            self._unwritten.append(record)
            self._num_bytes += len(record)
        self.flush()

    def flush(self) -> None:
        """Write what was not written yet."""
        try:
            self._write()
        except OSError as error:
            if not self._keeps:
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            if self._error is None:
                _LOG.warning(
                    "%s cannot be written (%s); what is to come is kept in memory (up to %d MiB) and written "
                    "once it can be: check free space and permissions",
                    *(self._path, error.strerror, MAX_KEPT_BYTES >> 20),
                )
            self._error = error
        else:
            if self._error is not None:
                _LOG.warning("%s is written again; %d records of it are lost", self._path, self._num_lost)
            self._error, self._num_lost = None, 0

    def forget(self) -> None:
        """Leave out what was not written yet."""
        self._unwritten.clear()
        self._num_bytes = self._num_lost = 0
        self._error = None

    def close(self) -> None:
        """Write the rest.

        Raises:
          TransientError: if that fails, with how much is lost.
        """
        try:
            self.flush()
        finally:
            self._stream.close()
        if self._error is not None:
            raise TransientError(
                f"{len(self._unwritten) + self._num_lost} records of {self._path} could not be written "
                f"({self._error.strerror}) and are lost; check free space and permissions, then run the same "
                "command again"
            ) from self._error

    def _write(self) -> None:
        while self._unwritten:
            record = self._unwritten[0]
            written = os.write(self._stream.fileno(), record)
            self._num_bytes -= written
            if written < len(record):
                self._unwritten[0] = record[written:]
            else:
                self._unwritten.popleft()

"""Files that grow, in a bucket, where no object does: numbered parts, which readers join."""

import logging
import time
from collections.abc import Iterator

from t5lite.core.errors import TransientError
from t5lite.core.storage.growing_files import MAX_KEPT_BYTES
from t5lite.core.storage.remote_path import RemotePath

_LOG = logging.getLogger(__name__)
_PART_BYTES = 1 << 20
_SECONDS = 60


class GrowingObjects:
    """Bytes that are appended, kept as parts ``NAME-000000`` and so on of about 1 MiB each.

    What is appended is put once a minute and at every ``flush``: the newest part is put again, whole, so that
    a reader finds every record whole. Where the storage does not answer, what was appended is kept and put
    with the next; of more than 4 MiB the newest records are left out, and counted.

    Args:
      folder: of the parts.
      name: how their names begin; later ones must sort after earlier ones.
      suffix: how they end.
    """

    def __init__(self, folder: RemotePath, name: str, suffix: str = "") -> None:
        self._folder, self._name, self._suffix = folder, name, suffix
        self._number, self._content, self._unput = 0, bytearray(), 0
        self._last_put = time.monotonic()
        self._is_failing, self._num_lost = False, 0

    def append(self, record: bytes) -> None:
        """Append a whole record."""
        if self._is_failing and self._unput + len(record) > MAX_KEPT_BYTES:
            self._num_lost += 1
        else:
            self._content += record
            self._unput += len(record)
        if time.monotonic() - self._last_put >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put what was not put yet; where that fails, say so once and keep it."""
        try:
            self._put()
        except TransientError as error:
            if not self._is_failing:
                _LOG.warning("%s; what was not written is kept and written later", error)
            self._is_failing = True
            self._last_put = time.monotonic()
        else:
            if self._num_lost:
                _LOG.warning("%s is written again; %d records are lost", self._folder, self._num_lost)
            self._is_failing, self._num_lost = False, 0

    def forget(self) -> None:
        """Leave out what was not put yet."""
        del self._content[len(self._content) - self._unput :]
        self._unput = 0

    def close(self) -> None:
        """Put the rest.

        Raises:
          TransientError: if that fails.
        """
        self._put()

    def _put(self) -> None:
        if not self._unput:
            return
        path = self._folder / f"{self._name}-{self._number:06d}{self._suffix}"
        path.write_bytes(bytes(self._content))
        self._unput, self._last_put = 0, time.monotonic()
        if len(self._content) >= _PART_BYTES:
            self._number, self._content = self._number + 1, bytearray()


def parts(folder: RemotePath, suffix: str) -> Iterator[RemotePath]:
    """Yield the parts in a folder, in order; none where there is no folder."""
    try:
        found = [path for path in folder.iterdir() if path.name.endswith(suffix)]
    except FileNotFoundError:
        return
    yield from sorted(found, key=lambda path: path.name)

"""Local files that TensorStore may be given: it waits for pipes, and ends the process where memory ends."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from t5lite.core.bounded_reads import UnfitFileError, check_regular
from t5lite.core.json_text import MAX_BYTES
from t5lite.core.storage.addresses import ReadablePath, is_remote

_READ_WHOLE = ("manifest.ocdbt", ".zarray", "zarr.json", "_METADATA", "_sharding")
"""What describes arrays."""
_DATABASE = "d"
"""The folder in which OCDBT has its data, of any size; they are read by ranges."""
_SMALL_BYTES = 64 << 20


def check_tensorstore_files(folder: ReadablePath, *, array_bytes: int | None = None) -> None:
    """Check what lies below a folder before TensorStore opens it; in a bucket, all is files.

    Args:
      folder: of a checkpoint, a database or an array.
      array_bytes: that no array or part of one exceeds; None where that is not known yet.

    Raises:
      UnfitFileError: for a pipe, a socket or a device, or a file larger than what it can hold.
    """
    for path in _files_below(folder) if not is_remote(folder) else ():
        check_regular(path)
        limit = None if array_bytes is None or path.parent.name == _DATABASE else 2 * array_bytes
        if path.name in _READ_WHOLE:
            limit = MAX_BYTES
        if limit is not None and (size := path.stat().st_size) > max(limit, _SMALL_BYTES):
            raise UnfitFileError(errno.EFBIG, f"its {size:,} bytes are more than it can need", str(path))


def _files_below(folder: ReadablePath) -> Iterator[Path]:
    """Yield files, links followed; what links lead nowhere is missing, which TensorStore says."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        own = os.stat(place)
        if (own.st_dev, own.st_ino) in seen:
            folders.clear()
            continue
        seen.add((own.st_dev, own.st_ino))
        yield from (path for name in names if (path := Path(place, name)).exists())

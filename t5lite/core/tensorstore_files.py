"""Local files that TensorStore may be given: it waits for pipes, and ends the process where memory ends."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import tensorstore

from t5lite.core.bounded_reads import UnfitFileError, check_regular, read_at_most
from t5lite.core.json_text import MAX_BYTES, parse_json
from t5lite.core.storage.addresses import ReadablePath, is_remote

_READ_WHOLE = ("manifest.ocdbt", ".zarray", "zarr.json", "_METADATA", "_sharding")
"""What describes arrays."""
_DATABASE = "d"
"""The folder in which OCDBT has its data, of any size; they are read by ranges."""
_SMALL_BYTES = 64 << 20
_DESCRIPTIONS = (b".zarray", b"zarr.json")
_NUMBER = re.compile(r"[<>|=]?[A-Za-z]+[0-9]{0,3}(_\w{1,12})?")
"""A dtype of single numbers: ``<f4``, ``bfloat16``, ``float8_e4m3fn``."""


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


def check_described_arrays(folder: ReadablePath) -> None:
    """Check what a local folder, or the database in it, says of the elements of its arrays.

    TensorStore makes an element of an array when it opens it, before anyone can ask how large that is.

    Raises:
      ValueError: as of ``check_description``, or if the database cannot be read.
      OSError: if a file cannot be read.
    """
    if is_remote(folder):
        return
    if Path(folder, "manifest.ocdbt").is_file():
        database = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{Path(folder).resolve()}/"}}
        store = tensorstore.KvStore.open(database).result()
        names = [name for name in store.list().result() if name.endswith(_DESCRIPTIONS)]
        contents = [each.result().value for each in [store.read(name) for name in names]]
    else:
        files = [path for path in _files_below(folder) if path.name.encode() in _DESCRIPTIONS]
        contents = [read_at_most(path, MAX_BYTES) for path in files]
    for content in contents:
        check_description(content)


def check_description(content: bytes) -> None:
    """Check what the description of one array says of its elements.

    Raises:
      ValueError: if they are no numbers, or it is no JSON object.
    """
    described = parse_json(content)
    if not isinstance(described, dict):
        raise ValueError("an array is not described by a JSON object")
    kind = described.get("dtype", described.get("data_type", ""))
    if not (isinstance(kind, str) and (not kind or _NUMBER.fullmatch(kind))):
        raise ValueError(f"an array has elements that are no numbers: {str(kind)[:80]!r}")


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

"""What a user names as input (files, folders, globs, addresses of object storage) as a list of files to read.

========================  =====================================================================
``.txt``                  text; what a document is, is an option
``.jsonl`` ``.ndjson``    one JSON object a line (also ``.json``, as C4 is published)
``.tsv`` ``.csv``         one record a row, columns by name or number
``.parquet``              columns by name
``.arrow``                a file of a Hugging Face ``datasets`` folder (``save_to_disk``)
``.array_record``         ArrayRecord: a JSON object, a ``tf.train.Example`` or a text in each record
========================  =====================================================================

Those with lines may also end in ``.gz``, ``.xz`` or ``.zst``.
"""

import errno
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.lfs import LARGEST_POINTER_BYTES, check_content_is_no_lfs_pointer
from t5lite.core.storage.addresses import local_path, no_bucket, storage_address
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.requests import requested
from t5lite.data.reading.file_systems import Files, StorageFiles, files_of, is_hidden, is_pattern, strings
from t5lite.data.reading.tally import no_text

FORMATS = (".txt", ".jsonl", ".tsv", ".csv", ".parquet", ".arrow", ".array_record")
RECORD_FORMATS = FORMATS[1:]
"""Those whose records have fields."""
WEB_ARCHIVE = ".warc"
"""WARC and WET, which only the offline pipelines read."""
COMPRESSIONS = (".gz", ".xz", ".zst")
Progress: TypeAlias = Callable[[int], object]
"""Told how many bytes of the (compressed) file were read since the last call."""

_LINES = (".txt", ".jsonl", ".tsv", ".csv")
_ALIASES = {".json": ".jsonl", ".ndjson": ".jsonl", ".arrayrecord": ".array_record", ".wet": WEB_ARCHIVE}
_ENDING = re.compile(r"(\.[a-z_]+)(?:-\d+-of-\d+)?(\.gz|\.xz|\.zst)?$")  # TFDS: a.array_record-0-of-4
_PACKED = 3  # what compression makes of prose
_DATASET = "state.json"  # beside the .arrow files of a `datasets` folder
_DATASET_SPLITS = "dataset_dict.json"


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """The files that inputs stand for, in reading order."""

    sizes: Mapping[str, int]
    """Bytes of each file, as it is (compressed), by its local path or address."""

    skipped: tuple[str, ...] = ()
    """Files and folders left out: of no known type, empty, another name of one that was met, or hidden by
    ``_``."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Local paths and addresses, in reading order."""
        return tuple(self.sizes)

    @property
    def num_bytes(self) -> int:
        """Bytes of all files, as they are (compressed)."""
        return sum(self.sizes.values())

    @property
    def expected_text_bytes(self) -> int:
        """Roughly the bytes of the text in them."""
        return sum(expected_text_bytes(path, size) for path, size in self.sizes.items())


def find_input_files(inputs: Iterable[str | Path], *, allowed: tuple[str, ...] = FORMATS) -> InputFiles:
    """Find the files that ``inputs`` stand for, before long work.

    A folder stands for all files in it, at any depth, whose type is ``allowed``, ordered by path;
    ``datasets`` folders are read in their own order. A file or glob names files whose type must be allowed.
    In folders and globs, what is hidden or begins with ``_``, as Spark's ``_temporary``, is left out. Links
    are followed, but a file or folder is taken once, whatever names lead to it. Empty files are skipped.

    Args:
      inputs: files, folders and globs (``**`` for any depth), local or at an address that fsspec opens.
      allowed: of ``FORMATS``.

    Raises:
      ConfigError: if there are no inputs.
      DataError: for the first input that will not do.
      UserError: for a file that Git LFS has not fetched.
    """
    inputs = list(inputs)
    if not inputs:
        raise ConfigError(
            f"no input files; give at least one ({', '.join(allowed)}, also {', '.join(COMPRESSIONS)})"
        )
    search = _Search(allowed)
    for each in inputs:
        search.add(each)
    return search.found()


class _Search:
    """Collects the files of one input after the other."""

    def __init__(self, allowed: tuple[str, ...]):
        self._allowed = allowed
        self._sizes: dict[str, int] = {}
        self._skipped: list[str] = []
        self._names: dict[str, str] = {}
        """By the one name that all names of a file lead to, the name it was first met by."""
        self._empty: list[str] = []

    def add(self, given: str | Path) -> None:
        """Add the files that ``given`` stands for."""
        files, path = files_of(given)
        if files.is_file(path):
            self._take(files, [path])
        elif files.is_folder(path):
            before = len(self._skipped)
            paths = self._known(files, self._in_folder(files, path, set()))
            if not self._take(files, paths):
                others = self._skipped[before:]
                other = f" ({len(others)} of other types, such as {others[0]})" if others else ""
                raise DataError(
                    f"{given} has no files of a known type{other}; allowed: {', '.join(self._allowed)}"
                )
        elif is_pattern(path):
            if not self._take(files, files.glob(path)):
                raise DataError(f"no file matches {given}; check the pattern")
        else:
            if storage_address(given) is None and os.path.islink(path):
                files.size(path)  # says where the link leads
            raise DataError(f"{given} does not exist{no_bucket(given)}; check the path")

    def found(self) -> InputFiles:
        """Return what was found.

        Raises:
          DataError: if all files are empty.
        """
        if not self._sizes:
            raise no_text(self._empty)
        return InputFiles(sizes=self._sizes, skipped=(*self._skipped, *self._empty))

    def _take(self, files: Files, paths: Iterable[str]) -> bool:
        """Take files whose type must be known; return whether there was any."""
        any_file = False
        for path in paths:
            any_file = True
            input_format(path, self._allowed)
            size = files.size(path)
            if size < LARGEST_POINTER_BYTES:
                check_content_is_no_lfs_pointer(files.content(path), path)
            first = self._names.setdefault(files.identity(path), path)
            if first != path:
                self._skipped.append(path)
            elif size:
                self._sizes[path] = size
            else:
                self._empty.append(path)
        return any_file

    def _known(self, files: Files, paths: Iterable[str]) -> Iterator[str]:
        """Yield files of a folder that are of a known type, and skip the others."""
        for path in paths:
            if _format(path) in self._allowed:
                yield path
            else:
                files.size(path)  # a link to nothing may have been one to a folder of texts
                self._skipped.append(path)

    def _in_folder(self, files: Files, folder: str, seen: set[str]) -> Iterator[str]:
        identity = files.identity(folder)
        if identity in seen:
            self._skipped.append(folder)
            return
        seen.add(identity)
        names, folders = files.names(folder)
        if _DATASET_SPLITS in names:
            splits = strings(files, f"{folder}/{_DATASET_SPLITS}", "splits") or ["train"]
            raise DataError(
                f"{folder} holds the splits {', '.join(splits)} of a dataset; give the one to prepare, "
                f"such as {folder}/{splits[0]}"
            )
        if _DATASET in names:
            names = strings(files, f"{folder}/{_DATASET}", "_data_files", "filename")
            if outside := [name for name in names if name != name.rpartition("/")[2]]:
                raise DataError(
                    f"{folder}/{_DATASET} points outside its folder, to {outside[0]!r}; fetch it again"
                )
            yield from (f"{folder}/{name}" for name in names)
            return
        for name in sorted([*names, *folders]):
            path = f"{folder.rstrip('/')}/{name}"
            if is_hidden(name):
                self._skipped.extend([path] * (not name.startswith(".")))
            elif name in folders:
                yield from self._in_folder(files, path, seen)
            else:
                yield path


def input_format(path: str | Path, allowed: tuple[str, ...] = FORMATS) -> str:
    """Return the format of a file by its name, one of ``FORMATS``.

    Raises:
      DataError: for what is not ``allowed``.
    """
    kind = _format(path)
    if kind in allowed:
        return cast(str, kind)
    if kind == ".txt":
        raise DataError(f"{path} has no fields to take pairs from; give {' or '.join(allowed)} files")
    raise DataError(
        f"{path} has an unknown type; allowed: {', '.join(allowed)}, each of {', '.join(_LINES)} also with "
        f"{', '.join(COMPRESSIONS)}"
    )


def expected_text_bytes(path: str | Path, size: int) -> int:
    """Return roughly how many bytes of text a file of ``size`` bytes holds."""
    return size * (_PACKED if compression(path) or _format(path) == ".parquet" else 1)


def compression(path: str | Path) -> str:
    """Return the compression that a file's name ends in, of ``COMPRESSIONS``; "" for none."""
    suffix = Path(path).suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


def _format(path: str | Path) -> str | None:
    found = _ENDING.search(Path(path).name.lower())
    if found is None:
        return None
    kind = _ALIASES.get(found[1], found[1])
    if found[2] and kind not in (*_LINES, WEB_ARCHIVE):
        return None
    return kind if kind in (*FORMATS, WEB_ARCHIVE) else None


def open_input(path: str | Path, progress: Progress | None = None) -> io.BufferedReader:
    """Open a file, local or at an address, for reading; an OSError if that is impossible.

    Args:
      path: as in ``InputFiles``.
      progress: told how many bytes were read since the last call.

    Raises:
      UserError: if object storage refuses it; also when it is read.
      TransientError: if object storage does not answer; also when it is read.
    """
    address = storage_address(path)
    if address is None:
        local = io.FileIO(local_path(path))
        return io.BufferedReader(_Metered(local, local.read, progress), 1 << 18)
    remote = requested(address, lambda: file_system(address).open(address, "rb"))
    if getattr(remote, "size", None) == 0 and StorageFiles(address).is_folder(address):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), address)

    def read(num_bytes: int) -> bytes:
        return requested(address, lambda: remote.read(num_bytes))

    return io.BufferedReader(_Metered(remote, read, progress), 1 << 18)


def unreadable(path: str | Path, error: OSError) -> DataError:
    """Return the error for a file that cannot be opened, or not read to its end."""
    return DataError(f"{path} cannot be read ({error.strerror or error}){no_bucket(path)}; check the path")


class _Metered(io.RawIOBase):
    """Reports how much of a file was read."""

    def __init__(self, raw: Any, read: Callable[[int], bytes], progress: Progress | None):
        self._raw, self._read, self._progress = raw, read, progress

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        buffer[: len(content)] = content
        if self._progress is not None:
            self._progress(len(content))
        return len(content)

    def close(self) -> None:
        self._raw.close()
        super().close()

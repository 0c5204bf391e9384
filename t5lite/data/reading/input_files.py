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

import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.local_path import local_path, storage_address

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
_GLOB = re.compile(r"[*?\[]")
_EXTRAS = {"gs": "t5lite[gcs]", "gcs": "t5lite[gcs]", "s3": "t5lite[s3]"}
_PACKED = 3  # what compression makes of prose
_DATASET = "state.json"  # beside the .arrow files of a `datasets` folder
_DATASET_SPLITS = "dataset_dict.json"


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """The files that inputs stand for, in reading order."""

    sizes: Mapping[str, int]
    """Bytes of each file, as it is (compressed), by its local path or address."""

    skipped: tuple[str, ...] = ()
    """Files of folders that are of no known type, or empty."""

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

    A folder stands for all files in it, at any depth, whose type is ``allowed`` and which are not empty,
    ordered by path; what is hidden is not looked at, and ``datasets`` folders are read in their own order. A
    file or glob names files whose type must be allowed.

    Args:
      inputs: files, folders and globs (``**`` for any depth), local or at an address that fsspec opens.
      allowed: of ``FORMATS``.

    Raises:
      ConfigError: if there are no inputs.
      DataError: for the first input that will not do.
    """
    inputs = list(inputs)
    if not inputs:
        raise ConfigError(
            f"no input files; give at least one ({', '.join(allowed)}, also {', '.join(COMPRESSIONS)})"
        )
    paths: dict[str, int] = {}
    skipped: list[str] = []
    for each in inputs:
        files, fs = _matches(each)
        known = []
        for path, in_folder in files:
            size = fs.size(path)
            if in_folder and not (size and _format(path) in allowed):
                skipped.append(path)
                continue
            input_format(path, allowed)
            known.append((path, size))
        if not known:
            other = f" ({len(skipped)} of other types or empty, such as {skipped[0]})" if skipped else ""
            raise DataError(f"{each} has no files of a known type{other}; allowed: {', '.join(allowed)}")
        paths.update(known)
    return InputFiles(sizes=paths, skipped=tuple(skipped))


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


def file_system(address: str) -> Any:
    """Return the fsspec file system that opens ``address``.

    Raises:
      DataError: if there is none, with what to install.
    """
    import fsspec  # only those who read from object storage pay for it

    try:
        return fsspec.url_to_fs(address)[0]
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(address.partition("://")[0])
        remedy = f"pip install '{extra}'" if extra else "check the address, or copy the files"
        raise DataError(f"{address} cannot be opened ({error}); {remedy}") from error


def _format(path: str | Path) -> str | None:
    found = _ENDING.search(Path(path).name.lower())
    if found is None:
        return None
    kind = _ALIASES.get(found[1], found[1])
    if found[2] and kind not in (*_LINES, WEB_ARCHIVE):
        return None
    return kind if kind in (*FORMATS, WEB_ARCHIVE) else None


def _matches(given: str | Path) -> tuple[Iterable[tuple[str, bool]], "_Files"]:
    """Return (path, whether a folder was given) of each file that one input stands for."""
    address = storage_address(given)
    files = _Files(address)
    text = str(local_path(given)) if address is None else address
    if files.is_file(text):
        return [(text, False)], files
    if files.is_folder(text):
        return ((path, True) for path in _in_folder(text, files)), files
    if _GLOB.search(text):
        found = [path for path in files.glob(text) if files.is_file(path)]
        if found:
            return [(path, False) for path in found], files
        raise DataError(f"no file matches {given}; check the pattern")
    raise DataError(f"{given} does not exist; check the path")


def _in_folder(folder: str, files: "_Files") -> Iterator[str]:
    names, folders = files.list(folder)
    if _DATASET_SPLITS in names:
        splits = files.json(f"{folder}/{_DATASET_SPLITS}").get("splits", [])
        raise DataError(
            f"{folder} holds the splits {', '.join(splits)} of a dataset; give the one to prepare, such as "
            f"{folder}/{splits[0] if splits else 'train'}"
        )
    if _DATASET in names:
        state = files.json(f"{folder}/{_DATASET}")
        yield from (f"{folder}/{entry['filename']}" for entry in state.get("_data_files", []))
        return
    for name in sorted([*names, *folders]):
        if not name.startswith("."):
            path = f"{folder.rstrip('/')}/{name}"
            yield from _in_folder(path, files) if name in folders else [path]


class _Files:
    """What is asked of a file system, with paths as the user writes them."""

    def __init__(self, address: str | None):
        self._fs = file_system("file:///" if address is None else address)
        self._scheme = "" if address is None else address.partition("://")[0] + "://"
        self.is_file, self.is_folder = self._fs.isfile, self._fs.isdir

    def glob(self, pattern: str) -> list[str]:
        return sorted(
            self._scheme + path.lstrip("/" if self._scheme else "") for path in self._fs.glob(pattern)
        )

    def list(self, folder: str) -> tuple[set[str], set[str]]:
        """Return the names of the files and of the folders in ``folder``."""
        try:
            entries = self._fs.ls(folder, detail=True)
        except OSError as error:
            raise DataError(f"the folder {folder} cannot be read ({error}); check permissions") from error
        names: dict[bool, set[str]] = {True: set(), False: set()}
        for entry in entries:
            names[entry["type"] == "directory"].add(entry["name"].rstrip("/").rpartition("/")[2])
        return names[False], names[True]

    def json(self, path: str) -> Any:
        return json.loads(self._fs.cat_file(path))

    def size(self, path: str) -> int:
        return int(self._fs.size(path) or 0)


def open_input(path: str | Path, progress: Progress | None = None) -> io.BufferedReader:
    """Open a file, local or at an address, for reading; an OSError if that is impossible.

    Args:
      path: as in ``InputFiles``.
      progress: told how many bytes were read since the last call.
    """
    address = storage_address(path)
    raw = io.FileIO(local_path(path)) if address is None else file_system(address).open(address, "rb")
    return io.BufferedReader(_Metered(cast(BinaryIO, raw), progress), 1 << 18)


class _Metered(io.RawIOBase):
    """Reports how much of a file was read."""

    def __init__(self, raw: BinaryIO, progress: Progress | None):
        self._raw, self._progress = raw, progress

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        content = self._raw.read(len(buffer))
        buffer[: len(content)] = content
        if self._progress is not None:
            self._progress(len(content))
        return len(content)

    def close(self) -> None:
        self._raw.close()
        super().close()

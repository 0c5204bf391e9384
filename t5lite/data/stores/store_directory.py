"""Where the files of a store lie: a local directory, or a directory of object storage that fsspec opens."""

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import DataError, TransientError, UserError
from t5lite.core.json_text import MAX_BYTES
from t5lite.core.storage.addresses import local_path, storage_address
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.requests import requested, within_bounds


class Range(NamedTuple):
    """Bytes ``[start, stop)`` of a file."""

    file_name: str
    start: int
    stop: int


class LocalDirectory:
    """A directory of the file system."""

    def __init__(self, path: Path):
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def child(self, name: str) -> "LocalDirectory":
        """Return the directory ``name`` in this one."""
        return LocalDirectory(self.path / name)

    def name_of(self, file_name: str) -> str:
        """Return how messages call a file."""
        return str(self.path / file_name)

    def size(self, file_name: str) -> int:
        """Return the bytes of a file; an OSError if there is none."""
        return (self.path / file_name).stat().st_size

    def read(self, file_name: str) -> bytes:
        """Return the content of a small file; an OSError if there is none."""
        return read_at_most(self.path / file_name, MAX_BYTES)

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, fewer where a file ends before; an OSError if there is none."""
        contents = []
        for wanted in ranges:
            with open(self.path / wanted.file_name, "rb") as file:
                file.seek(wanted.start)
                contents.append(file.read(wanted.stop - wanted.start))
        return contents

    def local_files(self, file_names: Iterable[str]) -> Path:
        """Return a local directory that has those of the small files that are here."""
        del file_names
        return self.path


class RemoteDirectory:
    """A directory of object storage, read by ranged requests, many of them under way at once.

    What does not answer is asked again; what the methods raise then is no damage of the store: a
    ``TransientError``, or a ``UserError`` where the storage refuses.

    Raises:
      DataError: if nothing opens such addresses here, with the extra to install.
    """

    def __init__(self, address: str):
        self._address = address.rstrip("/")
        self._files = file_system(self._address)
        self._root = self._files._strip_protocol(self._address)
        self._sizes: dict[str, int | None] | None = None

    def __str__(self) -> str:
        return self._address

    def child(self, name: str) -> "RemoteDirectory":
        """Return the directory ``name`` in this one."""
        return RemoteDirectory(f"{self._address}/{name}")

    def name_of(self, file_name: str) -> str:
        """Return how messages call a file."""
        return f"{self._address}/{file_name}"

    def size(self, file_name: str) -> int:
        """Return the bytes of a file; an OSError if there is none. All files are listed by one request."""
        if self._sizes is None:
            self._sizes = self._listed()
        size = self._sizes.get(file_name)
        if size is None:  # not every kind of storage lists sizes, or lists at all
            size = self._asked("info", file_name)["size"]
            self._sizes[file_name] = size
        return int(size)

    def _listed(self) -> dict[str, int | None]:
        self._files.invalidate_cache()
        with contextlib.suppress(FileNotFoundError, UserError):  # asking for a file says what is wrong
            return {
                str(entry["name"]).rstrip("/").rpartition("/")[2]: entry.get("size")
                for entry in requested(
                    self._address, lambda: within_bounds(self._files, "ls", self._root, detail=True)
                )
            }
        return {}

    def read(self, file_name: str) -> bytes:
        """Return the content of a small file; an OSError if there is none."""
        return self._asked("cat_file", file_name)

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, fewer where a file ends before.

        Raises:
          DataError: if a file is missing.
        """
        contents: list[bytes] = [b""] * len(ranges)
        missing = list(range(len(ranges)))

        def ask() -> None:
            """Ask for all that is missing at once; raise the first error that came in the place of one."""
            answers = within_bounds(
                self._files,
                "cat_ranges",
                [self._path(ranges[place].file_name) for place in missing],
                [ranges[place].start for place in missing],
                [ranges[place].stop for place in missing],
                on_error="return",
                size=sum(ranges[place].stop - ranges[place].start for place in missing),
            )
            errors = []
            for place, answer in zip(tuple(missing), answers, strict=True):
                if isinstance(answer, bytes):
                    contents[place] = answer
                    missing.remove(place)
                else:
                    errors.append(answer)
            if errors:
                raise errors[0]

        try:
            requested(self._address, ask)
        except FileNotFoundError as error:
            raise DataError(f"{self.name_of(ranges[missing[0]].file_name)} is missing") from error
        except (TransientError, UserError) as error:
            file_name, start, stop = ranges[missing[0]]
            raise type(error)(f"bytes {start} to {stop} of {file_name} are not read: {error}") from error
        return contents

    def local_files(self, file_names: Iterable[str]) -> Path:
        """Return a local directory that has those of the small files that are here.

        They are copied to where temporary files are, until this process ends.
        """
        copies = Path(tempfile.mkdtemp(prefix="t5lite-"))
        atexit.register(shutil.rmtree, copies, ignore_errors=True)
        for file_name in file_names:
            with contextlib.suppress(FileNotFoundError):
                (copies / file_name).write_bytes(self.read(file_name))
        return copies

    def _path(self, file_name: str) -> str:
        return f"{self._root}/{file_name}"

    def _asked(self, method: str, file_name: str) -> Any:
        """Return what a method of the file system says of a file; an OSError if there is none."""
        try:
            return requested(
                self.name_of(file_name), lambda: within_bounds(self._files, method, self._path(file_name))
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such file", self.name_of(file_name)) from error


StoreDirectory: TypeAlias = LocalDirectory | RemoteDirectory


def open_directory(path: "str | os.PathLike[str] | StoreDirectory") -> StoreDirectory:
    """Return the directory at a local path or an address such as ``gs://bucket/directory``."""
    if isinstance(path, LocalDirectory | RemoteDirectory):
        return path
    address = storage_address(Path(path) if not isinstance(path, str) else path)
    return LocalDirectory(local_path(str(path))) if address is None else RemoteDirectory(address)

"""Where the files of a store lie: a local directory, or a directory of object storage that fsspec opens."""

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import DataError, TransientError
from t5lite.core.json_text import MAX_BYTES
from t5lite.core.storage.addresses import local_path, storage_address
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.requests import is_transient

_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.2
T = TypeVar("T")


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

    What a service answers with an error is asked again, three times in all.

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
            size = self._retried(lambda: self._files.info(self._path(file_name)), file_name)["size"]
            self._sizes[file_name] = size
        return int(size)

    def _listed(self) -> dict[str, int | None]:
        self._files.invalidate_cache()
        with contextlib.suppress(
            Exception
        ):  # of the storage's own kinds; asking for a file says what is wrong
            return {
                str(entry["name"]).rstrip("/").rpartition("/")[2]: entry.get("size")
                for entry in self._files.ls(self._root, detail=True)
            }
        return {}

    def read(self, file_name: str) -> bytes:
        """Return the content of a small file; an OSError if there is none."""
        return self._retried(lambda: self._files.cat_file(self._path(file_name)), file_name)

    def ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, fewer where a file ends before.

        Raises:
          DataError: if the storage cannot be read.
          TransientError: if it does not answer, which is no damage.
        """
        contents: list[Any] = [None] * len(ranges)
        for attempt in range(_ATTEMPTS):
            missing = [place for place, content in enumerate(contents) if not isinstance(content, bytes)]
            if not missing:
                break
            if attempt:
                time.sleep(_FIRST_PAUSE_SECONDS * 4 ** (attempt - 1))
            answers = self._asked([ranges[place] for place in missing])
            for place, answer in zip(missing, answers, strict=True):
                contents[place] = answer
        for wanted, content in zip(ranges, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                raise DataError(f"{self.name_of(wanted.file_name)} is missing") from content
            if not isinstance(content, bytes):
                kind = TransientError if is_transient(content) else DataError
                raise kind(
                    f"bytes {wanted.start} to {wanted.stop} of {self.name_of(wanted.file_name)} cannot be "
                    f"read ({content!r} after {_ATTEMPTS} attempts); check the network and the access rights"
                ) from content
        return contents

    def _asked(self, wanted: Sequence[Range]) -> list[Any]:
        """Return the bytes of each range, or the error that came in their place."""
        try:
            return self._files.cat_ranges(
                [self._path(each.file_name) for each in wanted],
                [each.start for each in wanted],
                [each.stop for each in wanted],
                on_error="return",
            )
        except Exception as error:  # of the storage's own kinds
            return [error] * len(wanted)

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

    def _retried(self, request: Callable[[], T], file_name: str) -> T:
        """Return the answer; whatever the storage's library raises becomes an OSError."""
        for attempt in range(_ATTEMPTS):
            try:
                return request()
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, "no such file", self.name_of(file_name)) from error
            except Exception as error:
                if attempt == _ATTEMPTS - 1 or isinstance(error, PermissionError):
                    # By the number it is told what another start may mend from what it meets again.
                    number = errno.EIO if is_transient(error) else errno.EACCES
                    raise OSError(number, str(error), self.name_of(file_name)) from error
                time.sleep(_FIRST_PAUSE_SECONDS * 4**attempt)
        raise AssertionError("the last attempt returns or raises")


StoreDirectory: TypeAlias = LocalDirectory | RemoteDirectory


def open_directory(path: "str | os.PathLike[str] | StoreDirectory") -> StoreDirectory:
    """Return the directory at a local path or an address such as ``gs://bucket/directory``."""
    if isinstance(path, LocalDirectory | RemoteDirectory):
        return path
    address = storage_address(Path(path) if not isinstance(path, str) else path)
    return LocalDirectory(local_path(str(path))) if address is None else RemoteDirectory(address)

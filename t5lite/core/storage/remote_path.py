"""A path in a bucket."""

import contextlib
import errno
import io
import warnings
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, Self

from etils import epath

from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.literal_path import LiteralPath
from t5lite.core.storage.requests import requested, within_bounds

_READ_BYTES = 1 << 22


class RemotePath(LiteralPath):
    """A path of object storage, ``gs://bucket/name``, with the methods of ``pathlib.Path``.

    There are no directories: one is there while an object's name begins with its own. What cannot be asked is
    an error, never a "no", as it is where fsspec is asked for ``exists``. Nothing here is renamed, and an
    object is there as a whole or not at all. Errors are those of a file system, or a ``TransientError``.
    """

    @property
    def files(self) -> Any:
        """The fsspec file system that opens it."""
        return file_system(str(self))

    @property
    def bucket(self) -> Self:
        """The bucket that it is in."""
        return self._new(*self.parts[:3])

    def upload(self, local: Path) -> None:
        """Put the content of a local file, in parts if it is large; the object is there when all of it is."""
        self._send("put_file", str(local), str(self), size=local.stat().st_size)

    def download(self, local: Path) -> None:
        """Write the content to a local file."""
        self._ask("get_file", str(self), str(local), size=self._ask("info", str(self))["size"])

    def absolute(self) -> Self:
        """Return itself."""
        return self

    def exists(self) -> bool:
        """Return whether there is an object of this name, or one below it."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Return whether there is an object below this name."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Return False: there are no links."""
        return False

    def iterdir(self) -> Iterator[Self]:
        """Yield what is directly below; FileNotFoundError if there is nothing."""
        for entry in self._ask("ls", str(self), detail=True):
            name = entry["name"].strip("/")
            if name != "/".join(self.parts[2:]):  # an empty object that stands for the folder
                yield self / name.rpartition("/")[2]

    def glob(self, pattern: str) -> Iterator[Self]:
        """Yield what matches ``pattern`` in this directory."""
        for found in self._ask("glob", f"{self}/{pattern}"):
            yield self._new(f"{self.parts[1]}://{found}")

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every object below, by the rest of its name."""
        try:
            found = self._ask("find", str(self), detail=True)
        except FileNotFoundError:  # not even the bucket is there
            return {}
        start = len("/".join(self.parts[2:])) + 1
        return {name[start:]: entry["size"] for name, entry in found.items() if name[start:]}

    def read_bytes(self) -> bytes:
        """Return the content of the object; FileNotFoundError if there is none."""
        return self._ask("cat_file", str(self))

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the content as text, UTF-8 unless told otherwise."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: bytes) -> int:
        """Put the object, whole or not at all; return its size."""
        self._send("pipe_file", str(self), data, size=len(data))
        return len(data)

    def create(self, content: bytes) -> None:
        """Put the object if there is none of its name; FileExistsError if there is."""
        self._send("pipe_file", str(self), content, mode="create")

    def write_text(self, data: str, encoding: str | None = None, errors: str | None = None) -> int:
        """Put the object, whole or not at all; return its characters."""
        self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))
        return len(data)

    def open(self, mode: str = "r", encoding: str | None = None, **options: Any) -> IO[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a stream; of one that is written, the object is put when it is closed.

        A stream to write holds all of it in memory: large files are copied by ``upload``.
        """
        if mode in ("r", "rt"):
            return TextIOWrapper(BytesIO(self.read_bytes()), encoding=encoding or "utf-8", **options)
        if mode == "rb":
            return io.BufferedReader(_Got(self), _READ_BYTES)
        if mode in ("w", "wt"):
            return _PutText(_Put(self), encoding=encoding or "utf-8", **options)
        if mode == "wb":
            return _Put(self)
        raise ValueError(f"mode={mode!r} of {self} is not one of r, rb, w, wb: objects do not grow")

    def mkdir(self, mode: int | None = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing, for there are no directories; FileExistsError if it may not be there and is."""
        if not exist_ok and self.exists():
            raise FileExistsError(f"{self} is there already")

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._ask("rm_file", str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmtree(self, missing_ok: bool = False) -> None:
        """Delete all that is below."""
        found = self._ask("find", str(self))
        if not found and not missing_ok:
            raise FileNotFoundError(f"{self} is not there")
        top = len(self.parts) - 2
        # What lies on top says that the rest is whole, and goes first: what a kill leaves does not look so.
        on_top = [name for name in found if name.count("/") == top]
        for objects in (on_top, [name for name in found if name.count("/") != top]):
            # Where an answer was lost, the client asks again for what is gone by then.
            with contextlib.suppress(FileNotFoundError):
                if objects:
                    self._ask("rm", objects)

    def copy_tree(self, target: Self) -> None:
        """Copy all that is below to the same names below ``target``; the bytes stay in the store."""
        found = self._ask("find", str(self), detail=True)
        own = "/".join(self.parts[2:])
        copies = [f"{target}{name.strip('/').removeprefix(own)}" for name in found]
        if found:
            size = sum(entry["size"] for entry in found.values())
            self._send("copy", list(found), copies, size=size)

    def modified(self) -> float:
        """Return the Unix time at which the object was put, by the storage's clock."""
        entry = self._ask("info", str(self))
        return (entry["LastModified"] if "LastModified" in entry else entry["mtime"]).timestamp()

    def rename(self, target: epath.PathLike) -> Self:
        """Raise: objects are copied, not renamed, and what is half copied would be taken as whole."""
        raise io.UnsupportedOperation(f"{self} is not renamed to {target}: object storage renames nothing")

    replace = rename

    def _kind(self) -> str | None:
        """Return ``"file"``, ``"directory"``, or None if there is nothing."""
        try:
            kind = self._ask("info", str(self))["type"]
        except FileNotFoundError:
            return None
        return "file" if kind == "file" else "directory"

    def _send(self, method: str, *arguments: Any, **options: Any) -> None:
        with warnings.catch_warnings():
            # gcsfs hands its parts of 50 MiB to aiohttp as bytes; it has a thread of its own to wait in.
            warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
            self._ask(method, *arguments, **options)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return what a method of the file system returns, in the bounds of ``requests.within_bounds``."""
        return requested(str(self), lambda: within_bounds(self.files, method, *arguments, **options))


class _Got(io.RawIOBase):
    """Reads an object part by part, each by a request in the bounds of all others.

    A small one is got whole: what is put anew meanwhile (a beat of the lease) is read as it was or as it is.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__()
        entry = path._ask("info", str(path))
        if entry["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
        self._path, self._size, self._position = path, entry["size"], 0
        self._whole: bytes | None = None
        if 0 < self._size <= _READ_BYTES:
            self._whole = path.read_bytes()
            self._size = len(self._whole)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        start, end = self._position, min(self._position + len(buffer), self._size)
        if start >= end:
            return 0
        if self._whole is not None:
            content = self._whole[start:end]
        else:
            content = self._path._ask("cat_file", str(self._path), start=start, end=end)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


class _Put(BytesIO):
    """Puts what was written when it is closed, but not after an error: half of it would be taken as whole."""

    def __init__(self, path: RemotePath) -> None:
        super().__init__()
        self._path: RemotePath | None = path

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            self.discard()
        self.close()

    def discard(self) -> None:
        """Put nothing."""
        self._path = None

    def close(self) -> None:
        if self.closed:
            return
        content = self.getvalue()
        super().close()
        if self._path is not None:
            self._path.write_bytes(content)


class _PutText(TextIOWrapper):
    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None and isinstance(self.buffer, _Put):
            self.buffer.discard()
        self.close()

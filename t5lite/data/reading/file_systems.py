"""What is asked of the places that files lie in: the local file system, and object storage by fsspec.

Paths and addresses are as the user writes them.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from t5lite.core.bounded_reads import UnfitFileError, read_at_most
from t5lite.core.errors import DataError
from t5lite.core.json_text import MAX_BYTES, parse_json
from t5lite.core.storage.addresses import local_path, storage_address
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.requests import requested, within_bounds

_MAGIC = re.compile(r"[*?\[]")
_HIDDEN = (".", "_")
"""What names begin with that are not data: of the system, and of Spark and Hive (_SUCCESS, _temporary)."""


class Files(Protocol):
    """A place of files."""

    def is_file(self, path: str) -> bool:
        """Return whether ``path`` is a file."""
        ...

    def is_folder(self, path: str) -> bool:
        """Return whether ``path`` is a folder."""
        ...

    def names(self, folder: str) -> tuple[set[str], set[str]]:
        """Return the names of the files and of the folders in ``folder``."""
        ...

    def size(self, path: str) -> int:
        """Return the bytes of a file.

        Raises:
          DataError: if there is none.
        """
        ...

    def content(self, path: str) -> bytes:
        """Return the content of a small file; an OSError if there is none."""
        ...

    def identity(self, path: str) -> str:
        """Return the one name that all names of a file or folder lead to."""
        ...

    def glob(self, pattern: str) -> list[str]:
        """Return the files that match, ordered; hidden ones only where the pattern spells that out."""
        ...


class LocalFiles:
    """The local file system. Links are followed."""

    def is_file(self, path: str) -> bool:
        """Return whether ``path`` is a file."""
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        """Return whether ``path`` is a folder."""
        return os.path.isdir(path)

    def names(self, folder: str) -> tuple[set[str], set[str]]:
        """Return the names of the files and of the folders in ``folder``; links to nothing are files."""
        names: dict[bool, set[str]] = {True: set(), False: set()}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    names[_is_folder(entry)].add(entry.name)
        except OSError as error:
            raise DataError(
                f"the folder {folder} cannot be read ({error.strerror}); check permissions"
            ) from error
        return names[False], names[True]

    def size(self, path: str) -> int:
        """Return the bytes of a file.

        Raises:
          DataError: for a link that leads to nothing, and a file that is gone.
        """
        try:
            size = os.stat(path).st_size
        except OSError as error:
            if os.path.islink(path):
                raise DataError(
                    f"{path} is a link to {os.readlink(path)}, which leads to no file ({error.strerror}); "
                    "mend or remove the link"
                ) from error
            raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error
        return size

    def content(self, path: str) -> bytes:
        """Return the content of a small file.

        Raises:
          DataError: if it is large, or no file.
        """
        try:
            return read_at_most(Path(path), MAX_BYTES)
        except UnfitFileError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error

    def identity(self, path: str) -> str:
        """Return the path without links."""
        return os.path.realpath(path)

    def glob(self, pattern: str) -> list[str]:
        """Return the files that match; links that lead back to where they lie are not followed."""
        root, rest = split_pattern(pattern)
        depth = None if "**" in rest.split("/") else rest.count("/")
        found = self._below(root or ".", "", depth, frozenset(), may_match(rest))
        matches = matching(rest, found)
        return sorted(f"{root}{path}" for path in matches)

    def _below(
        self,
        folder: str,
        prefix: str,
        depth: int | None,
        above: frozenset[str],
        is_looked_at: Callable[[str], bool],
    ) -> Iterator[str]:
        """Yield the paths of files below ``folder``, seen from where the search began."""
        identity = self.identity(folder)
        if identity in above:
            return
        names, folders = self.names(folder)
        yield from (prefix + name for name in names)
        if depth is None or depth > 0:
            below = None if depth is None else depth - 1
            for name in sorted(filter(is_looked_at, folders)):
                yield from self._below(
                    os.path.join(folder, name), f"{prefix}{name}/", below, above | {identity}, is_looked_at
                )


class StorageFiles:
    """Object storage, as fsspec opens it.

    Raises:
      UserError: for what is refused for good.
      TransientError: where it does not answer, which is no "no".
    """

    def __init__(self, address: str):
        self._fs = file_system(address)
        self._scheme = address.partition("://")[0] + "://"

    def is_file(self, path: str) -> bool:
        """Return whether ``path`` is a file."""
        return self._kind(path) == "file"

    def is_folder(self, path: str) -> bool:
        """Return whether ``path`` is a folder."""
        return self._kind(path) == "directory"

    def _kind(self, path: str) -> str | None:
        try:
            return requested(path, lambda: within_bounds(self._fs, "info", path))["type"]
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> tuple[set[str], set[str]]:
        """Return the names of the files and of the folders in ``folder``."""
        names: dict[bool, set[str]] = {True: set(), False: set()}
        for entry in requested(folder, lambda: within_bounds(self._fs, "ls", folder, detail=True)):
            names[entry["type"] == "directory"].add(entry["name"].rstrip("/").rpartition("/")[2])
        return names[False], names[True]

    def size(self, path: str) -> int:
        """Return the bytes of a file.

        Raises:
          DataError: if it is gone.
        """
        try:
            return int(requested(path, lambda: within_bounds(self._fs, "size", path)) or 0)
        except FileNotFoundError as error:
            raise DataError(f"{path} is gone; check the address") from error

    def content(self, path: str) -> bytes:
        """Return the content of a file."""
        return requested(path, lambda: within_bounds(self._fs, "cat_file", path))

    def identity(self, path: str) -> str:
        """Return the address: object storage has no links."""
        return path

    def glob(self, pattern: str) -> list[str]:
        """Return the files that match."""
        root, rest = split_pattern(pattern)
        names = requested(pattern, lambda: within_bounds(self._fs, "glob", pattern))
        found = (self._scheme + path.lstrip("/") for path in names)
        below = (path.removeprefix(root) for path in found if self.is_file(path))
        return sorted(f"{root}{path}" for path in matching(rest, below))


def files_of(path: str | Path) -> tuple[Files, str]:
    """Return the place that ``path`` lies in, and ``path`` as it is called there."""
    address = storage_address(path)
    return (LocalFiles(), str(local_path(path))) if address is None else (StorageFiles(address), address)


def is_pattern(path: str) -> bool:
    """Return whether ``path`` has characters that stand for others."""
    return bool(_MAGIC.search(path))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of that name is not data."""
    return name.startswith(_HIDDEN)


def split_pattern(pattern: str) -> tuple[str, str]:
    """Return the folder that all matches lie in, with its slash, and the rest of the pattern."""
    magic = _MAGIC.search(pattern)
    end = pattern.rfind("/", 0, magic.start() if magic else len(pattern)) + 1
    return pattern[:end], pattern[end:]


def matching(pattern: str, paths: Iterable[str]) -> Iterator[str]:
    """Return the paths that match, but for hidden ones that the pattern does not spell out.

    Raises:
      DataError: if the pattern is none.
    """
    from fsspec.utils import glob_translate

    try:
        matches = re.compile(glob_translate(pattern)).match
    except (ValueError, re.error) as error:
        raise DataError(f"{pattern} is no pattern ({error}); check it") from error
    is_looked_at = may_match(pattern)
    return (path for path in paths if matches(path) and all(map(is_looked_at, path.split("/"))))


def may_match(pattern: str) -> Callable[[str], bool]:
    """Return whether a file or folder of a name may be part of a match: a hidden one must be spelt out."""
    spelt_out = [part for part in pattern.split("/") if is_hidden(part)]
    return lambda name: not is_hidden(name) or any(fnmatch.fnmatchcase(name, part) for part in spelt_out)


def strings(files: Files, path: str, *keys: str) -> list[str]:
    """Return the strings in a list of a small JSON file.

    Args:
      files: where it lies.
      path: its path.
      keys: that of the list, and that of the string where the list has objects.

    Raises:
      DataError: if there are none.
    """
    try:
        first, *within = keys
        found = [entry[within[0]] if within else entry for entry in parse_json(files.content(path))[first]]
        if all(isinstance(each, str) for each in found):
            return found
        problem = f"{first} are no names"
    except (ValueError, OSError, LookupError, TypeError) as error:
        problem = repr(error)
    raise DataError(f"{path} is damaged ({problem}); fetch the folder again")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False

"""Which paths are local, and which are addresses of object storage such as ``gs://bucket/directory``."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from t5lite.core.errors import ConfigError, DataError, ReportedError, suggestion
from t5lite.core.home import expand_home
from t5lite.core.storage.file_systems import CLIENTS, missing_extra

if TYPE_CHECKING:
    from t5lite.core.storage.literal_path import LiteralPath
    from t5lite.core.storage.remote_path import RemotePath

StoragePath: TypeAlias = Union[Path, "RemotePath"]
"""A place to read and write: a path of the file system, or one in a bucket."""
ReadablePath: TypeAlias = Union[Path, "LiteralPath"]
"""One of them, or a path as Orbax has it."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""A part of a path: ``gs://bucket/x`` has the parts ``gs:``, ``bucket`` and ``x``."""
_ONE_PLACE = {"gcs": "gs"}
"""Schemes that are another name of one."""
_PATTERN = re.compile(r"[*?\[\]#\x00-\x1f\x7f]")
"""What clients of object storage take for a pattern or a version, and what no name should hold."""


def place(address: str | os.PathLike[str]) -> StoragePath:
    """Return the place that a user named, ``~`` expanded; nothing is asked of it.

    Object storage is written to at ``gs://bucket/directory`` and ``s3://bucket/directory``; ``file:///x`` is
    the local path ``/x``.

    Raises:
      ConfigError: for an address that is none of these, or that needs a client which is not installed.
    """
    text = expand_home(os.fspath(address))
    scheme, separator, rest = text.partition("://")
    if separator and text != text.strip() and not os.path.lexists(text):
        raise ConfigError(f"{text!r} begins or ends with white space; write {text.strip()}")
    if not separator or not _SCHEME.fullmatch(f"{scheme}:"):
        if (meant := storage_address(text)) is not None:
            raise ConfigError(
                f"{text} is no address ({meant} has two slashes) and no folder that is there; write "
                f"{meant}, or make the local folder first"
            )
        return Path(text)
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"{text} names a host; a local path is file:///{rest} or /{rest}")
        return Path(rest)
    if scheme not in CLIENTS:
        raise ConfigError(
            f"{text} has the scheme {scheme!r}, which nothing is written to{suggestion(scheme, CLIENTS)}, "
            "file, and local paths"
        )
    bucket, _, name = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{text} names no bucket; write {scheme}://BUCKET/DIRECTORY")
    if odd := _PATTERN.search(rest):
        raise ConfigError(
            f"{text!r} holds {odd[0]!r}, which clients of object storage take for a pattern or a version; "
            "use another name"
        )
    if {".", ".."} & {*name.split("/")}:
        raise ConfigError(f"{text} holds . or .., which are names like others in a bucket; write it out")
    if remedy := missing_extra(scheme):
        raise ConfigError(f"{text} needs the client of {scheme}://, which is not installed; {remedy}")
    from t5lite.core.storage.remote_path import RemotePath  # only those who use object storage pay for it

    return RemotePath(canonical(text))


def canonical(address: str) -> str:
    """Return the one address that all schemes of the same place lead to."""
    scheme, separator, rest = address.partition("://")
    return f"{_ONE_PLACE.get(scheme, scheme)}{separator}{rest}"


def local_place(text: str) -> Path:
    """Return the local path that a user named, ``~`` expanded.

    Raises:
      ConfigError: for an address of object storage, and as ``place``.
    """
    found = place(text)
    if not isinstance(found, Path):
        raise ConfigError(f"{text}: only a local path will do here; copy what is written to the bucket later")
    return found


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether a place is in object storage; a ``Path`` of the file system never has two slashes."""
    return "://" in os.fspath(path)


def storage_address(path: str | os.PathLike[str]) -> str | None:
    """Return the address of object storage that ``path`` stands for; None for a local path.

    An address is recognised after it became a ``Path``, and after it was made "absolute". ``file:///x`` is
    the local path ``/x``.
    """
    text = os.fspath(path)
    if "://" in text and _SCHEME.fullmatch(text.split("//", 1)[0]):
        return None if text.startswith("file:") else text
    parts = Path(path).parts
    for position, part in enumerate(parts):
        if _SCHEME.fullmatch(part) and part != "file:" and not Path(*parts[: position + 1]).exists():
            return f"{part}//{'/'.join(parts[position + 1 :])}"
    return _without_slashes(text)


def _without_slashes(text: str) -> str | None:
    """Return the address that ``gs:bucket/x`` stands for; None if it is a local path."""
    first = text.partition("/")[0]
    scheme, colon, _ = first.partition(":")
    if not colon or scheme not in CLIENTS or os.path.exists(first):
        return None
    return f"{scheme}://{text.removeprefix(f'{scheme}:')}"


def absolute_location(path: str) -> str:
    """Return ``path`` so that it means the same in any working directory, and no place has two names."""
    address = storage_address(path)
    return canonical(address).rstrip("/") if address else os.path.abspath(path.removeprefix("file://"))


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as a ``Path``.

    Raises:
      DataError: for an address such as ``gs://bucket/directory``, also after it was made "absolute".
    """
    address = storage_address(path)
    if address is not None:
        raise DataError(f"{address} is not a local path, and only a local one will do here: copy it first")
    return Path(os.fspath(path).removeprefix("file://"))


def not_a_file(path: StoragePath) -> str:
    """Return what to say of a path that is no file: that it is a directory, or is not there."""
    return "is a directory" if path.is_dir() else f"does not exist{no_bucket(path)}"


def no_bucket(path: str | os.PathLike[str]) -> str:
    """Return what to add where something is said not to be there: that not even its bucket is; else ""."""
    if storage_address(path) is None:
        return ""
    from t5lite.core.storage.objects import check_bucket

    try:
        found = place(path)
        if not isinstance(found, Path):
            check_bucket(found)
    except FileNotFoundError:
        return f"; there is no bucket {'/'.join(str(path).split('/')[:3])}, or it is hidden from you"
    except ReportedError:  # which is not what is told
        return ""
    return ""

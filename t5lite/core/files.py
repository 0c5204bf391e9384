"""Atomic files and directories: a reader sees the whole thing or nothing.

Everything is written under a temporary name beside its destination and renamed at the end, so a
crash, a full disk or Ctrl-C never leaves something half-written under the final name.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t5lite.core.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, creating parent directories.

    Raises:
      UserError: if ``path`` is a directory or cannot be written.
    """
    check_new_file(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 ``content`` to ``path`` atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def make_directory(path: Path) -> None:
    """Make ``path`` and its parents where they are missing.

    Raises:
      UserError: if that is impossible, with the operating system's reason.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file is in its place" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(
            f"the directory {path} cannot be made ({reason}); choose another place to write to"
        ) from error


def check_new_file(path: Path) -> None:
    """Make the directory for ``path`` and check that ``path`` is none itself, before long work.

    Raises:
      UserError: if a file cannot be written there.
    """
    make_directory(path.parent)
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file to write")


def check_new_directory(path: Path, *, overwrite: bool = False, mark: str | None = None) -> None:
    """Check that ``new_directory`` may take ``path``, before long work; arguments as there.

    Raises:
      UserError: if ``path`` is a file, or is not empty and may not be replaced.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give the name of a directory to write")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        remedy = ", or replace it with --overwrite" if mark else " or delete it first"
        raise UserError(f"{path} exists and is not empty; choose another directory{remedy}")
    if mark and not (path / mark).is_file():
        raise UserError(
            f"{path} has no {mark}, so it was not written by this command and is not overwritten; choose "
            "another directory, or delete it yourself"
        )


@contextmanager
def new_directory(path: Path, *, overwrite: bool = False, mark: str | None = None) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``path`` when the block ends without an error.

    A directory that it replaces is there until then, and a kill never loses both.

    Args:
      path: the final name.
      overwrite: replace ``path`` if it is not empty.
      mark: file by which a directory of this kind is known: one without it is never replaced.

    Raises:
      UserError: if ``path`` is a file, cannot be made, or is not empty and may not be replaced.
    """
    check_new_directory(path, overwrite=overwrite, mark=mark)
    if path.is_dir():
        path = path.resolve()  # of a link to a directory, the directory is replaced
    make_directory(path.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.chmod(temporary, 0o755)
    try:
        yield temporary
        _put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename ``temporary`` to ``path``; what was there is deleted only after that.

    A kill in between leaves both, whole, under temporary names.
    """
    if not path.exists():
        os.replace(temporary, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    try:
        os.replace(path, old)
        os.replace(temporary, path)
    except BaseException:
        if path.exists():
            old.rmdir()
        else:
            os.replace(old, path)
        raise
    shutil.rmtree(old)


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path} ({error.strerror}); check free space, permissions and limits")

"""Files and directories in a bucket, where nothing is renamed and nothing grows: ``core.files`` there.

An object is put as a whole or not at all. A directory is written on the local disk and copied object by
object, the one last by which it is known, so that what a kill leaves behind is not taken as whole.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from t5lite.core.errors import UserError
from t5lite.core.storage.addresses import place, storage_address
from t5lite.core.storage.remote_path import RemotePath


def write_bytes(path: RemotePath, content: bytes) -> None:
    """Put an object."""
    with _bucket_of(path):
        path.write_bytes(content)


@contextlib.contextmanager
def growing_file(path: RemotePath, part: RemotePath) -> Iterator[TextIO]:
    """Yield a local stream, which becomes ``path`` when the block ends, or ``part`` if it is cut off."""
    with tempfile.TemporaryDirectory(prefix="t5lite-") as folder:
        local = Path(folder, path.name)
        target = part
        try:
            with open(local, "w", encoding="utf-8", newline="\n", buffering=1) as stream:
                yield stream
            target = path
        finally:
            if local.stat().st_size or target == path:
                with _bucket_of(target):
                    target.upload(local)


def check_place(folder: RemotePath) -> None:
    """Check that objects can be put below ``folder``; nothing is put."""
    with _bucket_of(folder):
        if not folder.bucket.exists():
            # Who may write objects need not be allowed to see the bucket itself, and one that is empty then
            # looks as if it were not there; only if it is not, listing it is an error.
            next(folder.bucket.iterdir(), None)
    if folder.is_file():
        raise UserError(f"{folder} is a file; choose another place to write to")


def check_new_file(path: RemotePath) -> None:
    """Check that an object can be put at ``path``; nothing is put."""
    check_place(path.parent)
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file to write")


def check_apart(output: RemotePath, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that what is written and what is read are apart."""
    for each in inputs:
        if storage_address(each) is None:
            continue
        given = place(each)
        if not isinstance(given, RemotePath):
            continue
        if given.is_relative_to(output):
            how = "is" if given == output else "holds"
        elif output.is_relative_to(given):
            how = "lies in"
        else:
            continue
        raise UserError(f"{output} {how} {given}, which is read; write to a place apart from it")


def check_new_directory(path: RemotePath, *, overwrite: bool) -> None:
    """Check that ``new_directory`` may take ``path``; nothing is put."""
    check_place(path)
    if path.is_dir():
        why = ": in a bucket nothing is replaced at once, so --overwrite replaces nothing there" * overwrite
        raise UserError(
            f"{path} exists and is not empty{why}; choose another directory, or delete it yourself"
        )


@contextlib.contextmanager
def new_directory(path: RemotePath, *, last: str | None) -> Iterator[Path]:
    """Yield a local directory that is copied to ``path`` when the block ends without an error.

    Args:
      path: the final name.
      last: of the files, the one that is put last, for it makes the directory what it is.
    """
    local = Path(tempfile.mkdtemp(prefix="t5lite-"))
    try:
        yield local
        upload_folder(local, path, last=last)
    finally:
        shutil.rmtree(local, ignore_errors=True)


def upload_folder(local: Path, path: RemotePath, *, last: str | None = None) -> None:
    """Put all files of a local folder below ``path``, the one called ``last`` after the others."""
    files = sorted(each for each in local.rglob("*") if each.is_file())
    files.sort(key=lambda each: each == local / (last or ""))
    with _bucket_of(path):
        for each in files:
            (path / each.relative_to(local).as_posix()).upload(each)


@contextlib.contextmanager
def _bucket_of(path: RemotePath) -> Iterator[None]:
    """Say that there is no such bucket where a request that makes an object finds nothing."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(
            f"{path} cannot be written: there is no bucket {path.bucket}, or it is hidden from you; make it, "
            "or check the name and your credentials"
        ) from error

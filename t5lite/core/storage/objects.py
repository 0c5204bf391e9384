"""Files and directories in a bucket, where nothing is renamed and nothing grows: ``core.files`` there.

An object is put as a whole or not at all. Whole directories: ``bucket_directories``.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from t5lite.core.errors import UserError
from t5lite.core.storage.addresses import canonical, storage_address
from t5lite.core.storage.remote_path import RemotePath


def write_bytes(path: RemotePath, content: bytes) -> None:
    """Put an object."""
    with _bucket_of(path):
        path.write_bytes(content)


@contextlib.contextmanager
def growing_file(path: RemotePath, part: RemotePath, *, kept_bytes: int = 0) -> Iterator[TextIO]:
    """Yield a local stream, which becomes ``path`` when the block ends, or ``part`` if it is cut off.

    It begins with the first ``kept_bytes`` of ``part``, which goes when ``path`` is there.

    Raises:
      UserError: if another process has put ``path`` meanwhile: then what was written is ``part``.
    """
    with tempfile.TemporaryDirectory(prefix="t5lite-") as folder:
        local = Path(folder, path.name)
        target = part
        local.write_bytes(part.read_bytes()[:kept_bytes] if kept_bytes else b"")
        try:
            with open(local, "a", encoding="utf-8", newline="\n", buffering=1) as stream:
                yield stream
            if path.exists():
                raise UserError(
                    f"{path} was written by another process meanwhile; what was written here is {part}"
                )
            target = path
        finally:
            if local.stat().st_size or target == path:
                with _bucket_of(target):
                    target.upload(local)
                    if kept_bytes and target == path:
                        part.unlink(missing_ok=True)


def check_place(folder: RemotePath) -> None:
    """Check that objects can be put below ``folder``; nothing is put."""
    with _bucket_of(folder):
        check_bucket(folder)
    if folder.is_file():
        raise UserError(f"{folder} is a file; choose another place to write to")


def check_bucket(path: RemotePath) -> None:
    """Check that there is the bucket that ``path`` is in; a FileNotFoundError if not."""
    if not path.bucket.exists():
        # Who may write objects need not be allowed to see the bucket itself, and one that is empty then
        # looks as if it were not there; only if it is not, listing it is an error.
        next(path.bucket.iterdir(), None)


def check_new_file(path: RemotePath) -> None:
    """Check that an object can be put at ``path``; nothing is put."""
    check_place(path.parent)
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file to write")


def check_apart(output: RemotePath, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that what is written and what is read are apart."""
    for each in inputs:
        address = storage_address(each)
        if address is None:
            continue
        given = RemotePath(canonical(address))  # of what is only read, any scheme and name will do
        if given.is_relative_to(output):
            how = "is" if given == output else "holds"
        elif output.is_relative_to(given):
            how = "lies in"
        else:
            continue
        raise UserError(f"{output} {how} {given}, which is read; write to a place apart from it")


def upload_folder(local: Path, path: RemotePath) -> None:
    """Put all files of a local folder below ``path``."""
    with _bucket_of(path):
        for each in sorted(each for each in local.rglob("*") if each.is_file()):
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

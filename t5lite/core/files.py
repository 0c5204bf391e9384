"""Atomic files and directories: a reader sees the whole thing or nothing.

On disks, everything is written under a temporary name beside its destination and renamed at the end, so a
crash, a full disk or Ctrl-C never leaves something half-written under the final name. In buckets, where
nothing is renamed, ``core.storage.objects`` does the same in its way.
"""

import errno
import functools
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, TextIO, TypeVar

from t5lite.core import written_files
from t5lite.core.errors import UserError
from t5lite.core.sole_writer import check_no_writer, sole_writer
from t5lite.core.storage.addresses import StoragePath, storage_address
from t5lite.core.temporary_directories import left_behind, set_aside, temporary_directory
from t5lite.core.temporary_files import written_beside

PathT = TypeVar("PathT", bound=PurePath)
_LOG = logging.getLogger(__name__)


def write_bytes(path: StoragePath, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, creating parent directories.

    Raises:
      UserError: if ``path`` is a directory or cannot be written.
    """
    if not isinstance(path, Path):
        _objects().write_bytes(path, content)
        return
    check_new_file(path)
    make_directory(path.parent)
    try:
        temporary = written_beside(path, content)
        try:
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_text(path: StoragePath, content: str) -> None:
    r"""Write UTF-8 ``content`` to ``path`` atomically.

    Python has the bytes of a file name that is not UTF-8 as lone surrogates. They are written as JSON escapes
    them (``\udcff``), from where they can be read back.
    """
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: StoragePath, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def growing_file(path: StoragePath, *, kept_bytes: int = 0) -> Iterator[TextIO]:
    """Yield a stream to ``part_of(path)``, which becomes ``path`` when the block ends without an error.

    What was written is in that file at once, line by line, and stays there if the block is cut off. On a disk
    one process writes it at a time; in a bucket the first to end has the name, and another's is the part.

    Args:
      path: the file.
      kept_bytes: of what is in ``part_of(path)`` already, to go on after; the rest is dropped.

    Raises:
      UserError: if it cannot be written, or another process writes it.
    """
    if not isinstance(path, Path):
        with _objects().growing_file(path, part_of(path), kept_bytes=kept_bytes) as stream:
            yield stream
        return
    make_directory(path.parent)
    try:
        with sole_writer(part_of(path), becomes=path) as descriptor:
            os.truncate(descriptor, kept_bytes)
            with open(part_of(path), "a", encoding="utf-8", newline="\n", buffering=1) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part_of(path), path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_growing_file(path: StoragePath) -> None:
    """Check that no other process writes ``growing_file(path)``, before long work.

    Raises:
      UserError: if one does.
    """
    if isinstance(path, Path):
        check_no_writer(part_of(path))


def part_of(path: PathT) -> PathT:
    """Return where ``growing_file`` keeps what is written so far."""
    return path.with_name(f"{path.name}.part")


def make_directory(path: StoragePath) -> None:
    """Make ``path`` and its parents where they are missing.

    Raises:
      UserError: if that is impossible, with the operating system's reason.
    """
    if not isinstance(path, Path):
        return  # there are none in a bucket
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file is in its place" if isinstance(error, FileExistsError) else error.strerror
        raise _cannot_make(path, reason) from error


def check_place(folder: StoragePath) -> None:
    """Check that the directory ``folder`` can be written to, or made, before long work; nothing is made.

    Raises:
      UserError: if not, with the reason.
    """
    if not isinstance(folder, Path):
        _objects().check_place(folder)
        return
    lowest = next(each for each in (folder, *folder.parents, Path()) if os.path.lexists(each))
    if not lowest.is_dir():
        raise _cannot_make(folder, "a file is in its place")
    if not os.access(lowest, os.W_OK | os.X_OK):
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise _cannot_write(folder, denied) if lowest == folder else _cannot_make(folder, denied.strerror)


def check_new_file(path: StoragePath) -> None:
    """Check that ``path`` is or may become a file, before long work; nothing is made.

    Raises:
      UserError: if a file cannot be written there.
    """
    if not isinstance(path, Path):
        _objects().check_new_file(path)
        return
    check_place(path.parent)
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file to write")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a device or a pipe, which cannot be replaced; give the name of a file")


def check_apart(output: StoragePath, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that what is written and what is read are apart, links followed, before long work.

    Raises:
      UserError: if ``output`` is or holds an input, which it would replace, or lies in a folder that is read.
    """
    if not isinstance(output, Path):
        _objects().check_apart(output, inputs)
        return
    inputs = [each for each in inputs if storage_address(each) is None]
    place = _real(output)
    own, above = _identity(place), {_identity(each) for each in (place, *place.parents)}
    # There may be very many inputs, on slow disks, but they lie in few folders.
    real_folder = functools.cache(_real)

    @functools.cache
    def is_in_output(path: Path) -> bool:
        return _identity(path) == own or (path != path.parent and is_in_output(path.parent))

    for each in inputs:
        given, real = Path(each), _real(Path(each))
        # A link counts as what it names, and as itself.
        reads = {real, real_folder(given.parent) / given.name}
        if any(_identity(read) == own or is_in_output(read.parent) for read in reads):
            how = "is" if place in reads else "holds"
        elif _identity(real) in above:
            how = "lies in"
        else:
            continue
        raise UserError(f"{output} {how} {given}, which is read; write to a place apart from it")


def check_new_directory(path: StoragePath, *, overwrite: bool = False, mark: str | None = None) -> None:
    """Check that ``new_directory`` may take ``path``, before long work; arguments as there.

    Raises:
      UserError: as there.
    """
    if not isinstance(path, Path):
        _bucket_directories().check_new_directory(path, overwrite=overwrite, mark=mark)
        return
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to nothing; delete it, or give another directory")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give the name of a directory to write")
    if not path.is_dir():
        return
    check_replaceable_place(path)
    if not any(path.iterdir()):
        return
    if not overwrite:
        remedy = ", or replace it with --overwrite" if mark else " or delete it first"
        raise UserError(f"{path} exists and is not empty; choose another directory{remedy}")
    if mark and not (path / mark).is_file():
        raise UserError(
            f"{path} has no {mark}, so it was not written by this command and is not overwritten; choose "
            "another directory, or delete it yourself"
        )
    others = written_files.foreign(path)
    if others is None:
        found = written_files.shown(list(written_files.entries(path)))
        raise UserError(
            f"{path} holds {found} and no {written_files.LIST} (earlier versions wrote none), so what t5lite "
            "wrote is not known and nothing is overwritten; choose another directory, or delete it yourself"
        )
    written_files.check_none(path, others)


def check_replaceable_place(path: StoragePath) -> None:
    """Check that no one stands in the directory ``path``.

    Raises:
      UserError: if it is or holds the current directory or the user's home, or is a mount point.
    """
    if not isinstance(path, Path):
        return  # nobody stands in a bucket
    place = _real(path)
    stands = {"the current directory": os.curdir, "your home directory": os.path.expanduser("~")}
    for what, taken in stands.items():
        if _lies_in(_real(Path(taken)), place):
            how = "is" if _real(Path(taken)) == place else "holds"
            raise UserError(f"{path} {how} {what}; give a directory of its own, such as {path / 'new'}")
    if os.path.ismount(path):
        raise UserError(f"{path} is a mount point; give a directory in it, such as {path / 'new'}")


@contextmanager
def new_directory(
    path: StoragePath, *, overwrite: bool = False, mark: str | None = None, last: Sequence[str] = ()
) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``path`` when the block ends without an error.

    A directory that it replaces is there until then, and on a disk a kill never loses both.

    Args:
      path: the final name.
      overwrite: replace ``path`` if it is not empty: a directory of this kind that holds nothing but what
        t5lite wrote, as it wrote it (see ``written_files``).
      mark: file by which a directory of this kind is known. With it, what is written can be replaced later.
      last: of a directory in a bucket, names of files in any folder that are put last, in this order;
        ``mark`` by default.

    Raises:
      UserError: if ``path`` is a file, cannot be made, or is not empty and may not be replaced; if the user
        is in it, or it is a mount point.
    """
    if isinstance(path, Path):
        # Of a link to a directory, the directory is replaced.
        target, mode = path.resolve() if path.is_dir() else path, 0o777
    else:
        # Beside a name that others may know and take, in a folder of all users: no link is followed.
        target, mode = _bucket_directories().local_stand_in(path), 0o700
    _clear_up(target)
    check_new_directory(path, overwrite=overwrite, mark=mark)
    make_directory(target.parent)
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(temporary_directory(target, mode=mode))
        except OSError as error:
            raise _cannot_write(target, error) from error
        yield temporary
        if mark:
            write_json(temporary / written_files.LIST, written_files.file_list(temporary))
        if isinstance(path, Path):
            _put_in_place(temporary, target)
        else:
            _bucket_directories().put_directory(temporary, path, last=last or ((mark,) if mark else ()))
            shutil.rmtree(temporary)


def written_in(path: StoragePath) -> Path:
    """Return the local directory in which ``new_directory`` writes what becomes ``path``."""
    return path.parent if isinstance(path, Path) else _bucket_directories().local_stand_in(path).parent


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename ``temporary`` to ``path``; what t5lite wrote there before is deleted only after that.

    A kill in between leaves both, whole, under temporary names; the next command puts the old one back.
    """
    if not path.exists():
        os.replace(temporary, path)
        return
    with set_aside(path) as old:
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(old, path)
            raise
        _delete_replaced(old, path)


def _clear_up(path: Path) -> None:
    """Delete, or put back, what commands that were killed left beside ``path``, and say so."""
    for left, was_path in left_behind(path):
        with suppress(OSError):  # what cannot be changed stays
            if was_path and not path.exists():
                os.replace(left, path)
                _LOG.warning("%s is put back: a command was killed while it replaced it", path)
                continue
            if was_path:
                _delete_replaced(left, path)
            else:
                shutil.rmtree(left)
            if not left.exists():
                _LOG.warning("deleted %s, which a command left that was killed", left)


def _delete_replaced(old: Path, path: Path) -> None:
    """Delete what t5lite wrote of ``old``, which was once ``path``."""
    others = written_files.foreign(old)
    others = list(written_files.entries(old)) if others is None else others
    written_files.delete_all_but(old, others)
    if others:  # it may have been hours since ``path`` was checked
        _LOG.warning("%s came to %s meanwhile: kept in %s", written_files.shown(others), path, old)


def _objects() -> Any:
    """Return what does the same in buckets; only those who use them pay for it."""
    from t5lite.core.storage import objects

    return objects


def _bucket_directories() -> Any:
    from t5lite.core.storage import bucket_directories

    return bucket_directories


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | Path:
    """Return what all names of a file or folder have in common, also where they differ in case alone."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _lies_in(inner: Path, outer: Path) -> bool:
    """Return whether ``inner`` is or lies in ``outer``."""
    return _identity(outer) in map(_identity, (inner, *inner.parents))


def _cannot_make(path: Path, reason: str | None) -> UserError:
    return UserError(f"the directory {path} cannot be made ({reason}); choose another place to write to")


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path} ({error.strerror}); check free space, permissions and limits")

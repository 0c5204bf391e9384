"""Directories that appear as a whole in a bucket, where nothing is renamed: ``files.new_directory`` there.

They are written on the local disk and put object by object, last those that make them what they are (the
index of a store). Before the first one, ``UNFINISHED`` is put, which names all that follow; it is deleted
after the last. So what a kill leaves is known, is taken for nothing, and is replaced by the next command. Who
puts looks before every object whether ``UNFINISHED`` is still its own: of two commands the later one goes on.
"""

import json
import logging
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from t5lite.core import written_files
from t5lite.core.errors import UserError
from t5lite.core.json_text import load_json
from t5lite.core.storage.objects import check_place, write_bytes
from t5lite.core.storage.remote_path import RemotePath

UNFINISHED = ".t5lite-unfinished.json"
_FORMAT = "t5lite unfinished 1"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """What ``UNFINISHED`` says."""

    id: str
    """Of one command's attempt."""
    by: str
    """Who puts, for people."""
    files: tuple[str, ...]
    """Names of all that is put, or may be there from before; the last one makes the directory whole."""


def check_new_directory(path: RemotePath, *, overwrite: bool, mark: str | None) -> None:
    """Check that a directory may be put at ``path``; nothing is put. Arguments as ``files.new_directory``.

    Raises:
      UserError: if not.
    """
    check_place(path)
    if not path.is_dir():
        return
    if _is_unfinished(path):
        written_files.check_none(path, foreign(path) or ())
        return
    if not overwrite or mark is None:
        remedy = ", or replace it with --overwrite" if mark else " or delete it first"
        raise UserError(f"{path} exists and is not empty; choose another directory{remedy}")
    if not (path / mark).is_file():
        raise UserError(
            f"{path} has no {mark}, so it was not written by this command and is not overwritten; choose "
            "another directory, or delete it yourself"
        )
    others = foreign(path)
    if others is None:
        raise UserError(
            f"{path} has no {written_files.LIST}, so what t5lite wrote is not known and nothing is "
            "overwritten; choose another directory, or delete it yourself"
        )
    written_files.check_none(path, others)


def entries(path: RemotePath) -> Iterator[str]:
    """Yield the names of all objects below ``path`` but its list, sorted."""
    yield from (name for name in sorted(path.sizes()) if name != written_files.LIST)


def foreign(path: RemotePath) -> list[str] | None:
    """Return the names of the ``entries`` that t5lite did not write, or that were put since.

    None stands for a directory without a list. The list was put last, so what is newer was changed; of what
    was left unfinished, every name is known.
    """
    sizes = path.sizes()
    begun = _read_unfinished(path)
    if begun is not None and begun.files[-1] not in sizes:
        return sorted(sizes.keys() - {UNFINISHED, *begun.files})
    listed = written_files.listed(path)
    if listed is None:
        return None
    last = (path / written_files.LIST).modified()

    def is_ours(name: str) -> bool:
        described = listed.get(name)
        if not isinstance(described, dict) or described.get("bytes") != sizes[name]:
            return False
        return (path / name).modified() <= last

    return [name for name in sorted(sizes.keys() - {written_files.LIST, UNFINISHED}) if not is_ours(name)]


def delete_all_but(path: RemotePath, kept: Collection[str]) -> None:
    """Delete all objects below ``path``, but for those of these names."""
    for name in path.sizes():
        if name not in kept:
            (path / name).unlink(missing_ok=True)


def local_stand_in(path: RemotePath) -> Path:
    """Return the local path beside which a directory is written that is then put at ``path``."""
    return Path(tempfile.gettempdir(), f"t5lite-{sha256(str(path).encode()).hexdigest()[:16]}")


def put_directory(local: Path, path: RemotePath, *, last: Sequence[str]) -> None:
    """Put the files of ``local`` at ``path``, in place of what t5lite wrote there, or left unfinished.

    Args:
      local: the whole directory.
      path: what ``check_new_directory`` has accepted.
      last: names of files, in any folder, that are put after the others, in this order.

    Raises:
      UserError: if another command began to write there.
    """
    order = [*last, written_files.LIST]
    names = [each.relative_to(local).as_posix() for each in local.rglob("*") if each.is_file()]

    def turn(name: str) -> tuple[bool, int, str]:
        own = name.rpartition("/")[2]
        # The list of the whole directory is the very last: an object that is newer was changed by others.
        return name == written_files.LIST, order.index(own) if own in order[:-1] else -1, name

    names.sort(key=turn)
    with _unfinished(path, names, turn) as begun:
        for name in names:
            _check_is_ours(path, begun)
            (path / name).upload(local / name)


@contextmanager
def _unfinished(path: RemotePath, names: Sequence[str], turn: Callable[[str], Any]) -> Iterator[Unfinished]:
    """Delete what is to be replaced, and have ``UNFINISHED`` at ``path`` until the block ends."""
    before = _read_unfinished(path)
    if before is not None:
        _LOG.warning("%s: what %s began to put there, and did not finish, is replaced", path, before.by)
    old = before.files if before is not None else (*(written_files.listed(path) or ()), written_files.LIST)
    old = {name for name in old if not name.startswith("/")}
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    begun = Unfinished(
        id=uuid.uuid4().hex,
        by=f"process {os.getpid()} of {socket.gethostname()} at {began}",
        files=(*sorted(old - set(names)), *names),
    )
    write_bytes(path / UNFINISHED, json.dumps({"format": _FORMAT, **asdict(begun)}, indent=2).encode())
    try:
        # Listed only now: whoever began before puts until the new mark is there. What says that the rest is
        # whole is put last, and so deleted first.
        for name in sorted(old & path.sizes().keys(), key=turn, reverse=True):
            (path / name).unlink(missing_ok=True)
        yield begun
        _check_is_ours(path, begun)
    except _TakenOver:
        raise
    except BaseException:
        _LOG.warning("%s: what was put so far is left unfinished; the next command replaces it", path)
        raise
    (path / UNFINISHED).unlink(missing_ok=True)


class _TakenOver(UserError):
    """Another command writes to the same place."""


def _check_is_ours(path: RemotePath, begun: Unfinished) -> None:
    now = _read_unfinished(path)
    if now is None or now.id != begun.id:
        by = f" ({now.by})" if now else ""
        raise _TakenOver(
            f"another command{by} began to write to {path} meanwhile, and this one leaves it; of the two, "
            "give one another place"
        )


def _is_unfinished(path: RemotePath) -> bool:
    begun = _read_unfinished(path)
    return begun is not None and not (path / begun.files[-1]).is_file()


def _read_unfinished(path: RemotePath) -> Unfinished | None:
    """Return what ``UNFINISHED`` says; None if it is not there, or says nothing."""
    try:
        said = load_json(path / UNFINISHED)
        found = Unfinished(id=str(said["id"]), by=str(said["by"]), files=tuple(map(str, said["files"])))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if found.files and said.get("format") == _FORMAT else None

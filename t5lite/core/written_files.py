"""Which files of a folder t5lite wrote: a list that lies in the folder, so that nothing else is replaced.

The list depends on the files alone (no times, no places), so equal folders have equal lists, and a copy of a
folder is known as well as the folder. It is hidden: nobody who reads a model or a store looks at it.

A file that was changed is no longer t5lite's. To see that, its size is compared and a digest of it: of all of
it up to 64 MiB, else of 64 blocks of 1 MiB, evenly spaced over it, its two ends among them. The whole of a
store of terabytes would take hours to read, twice; training changes more than what lies between two blocks.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any

from t5lite.core.errors import UserError
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath

LIST = ".t5lite-files.json"
"""The list's own name."""
_FORMAT = "t5lite files 1"
_BLOCK_BYTES, _NUM_BLOCKS = 1 << 20, 64
_SHOWN = 5


def file_list(directory: Path) -> dict[str, Any]:
    """Return what ``LIST`` says of a directory that t5lite has just written."""
    return {"format": _FORMAT, "files": {name: _described(directory / name) for name in entries(directory)}}


def entries(directory: Path) -> Iterator[str]:
    """Yield the relative name of everything in ``directory`` but its list, sorted in each folder.

    Links are named, not followed. Folders are not named: one without a file holds nothing to lose.

    Raises:
      UserError: if a folder in it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); check permissions") from error

    for folder, folders, names in os.walk(directory, onerror=refuse):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links]):
            path = Path(folder, name)
            if path != directory / LIST:
                yield path.relative_to(directory).as_posix()


def foreign(directory: Path) -> list[str] | None:
    """Return the names of the ``entries`` that t5lite did not write, or that were changed since.

    None stands for a directory without a list, as earlier versions and everyone else write.
    """
    said = listed(directory)
    if said is None:
        return None
    described = {name: _described(directory / name) for name in entries(directory)}
    return [name for name, found in described.items() if found is None or found != said.get(name)]


def listed(directory: StoragePath) -> dict[str, Any] | None:
    """Return what the list of a directory says of its files, by name; None where there is no list."""
    try:
        content = load_json(directory / LIST)
        found = content["files"] if content["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def check_none(directory: StoragePath, others: Collection[str]) -> None:
    """Refuse to replace a directory that holds ``others``, files that are not t5lite's.

    Raises:
      UserError: if there are any.
    """
    if others:
        raise UserError(
            f"{directory} holds {shown(others)} that t5lite did not write or that changed since, so "
            "it is not overwritten; move what you need away and delete the rest, or choose another directory"
        )


def delete_all_but(directory: Path, kept: Collection[str]) -> None:
    """Delete ``directory``, but for entries of these names and the folders that they are in.

    Of a link to a directory, the link stays and what it names becomes empty.
    """
    for name in list(entries(directory)):
        if name not in kept:
            (directory / name).unlink(missing_ok=True)
    if not kept:
        (directory / LIST).unlink(missing_ok=True)
    for folder, _, _ in os.walk(directory, topdown=False):
        if not os.listdir(folder) and not os.path.islink(folder):
            os.rmdir(folder)


def shown(names: Collection[str]) -> str:
    """Return a count and the first names, for a message."""
    first = [name if name.isprintable() else ascii(name) for name in list(names)[:_SHOWN]]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{len(names):,} {'file' if len(names) == 1 else 'files'} ({', '.join(first)}{more})"


def _described(path: Path) -> dict[str, Any] | None:
    """Return what tells a file from another; None for what is no regular file."""
    status = path.lstat()
    if not S_ISREG(status.st_mode):
        return None
    size, digest = status.st_size, hashlib.sha256()
    apart = max(size - _BLOCK_BYTES, 0) / (_NUM_BLOCKS - 1)
    whole = size <= _NUM_BLOCKS * _BLOCK_BYTES
    with open(path, "rb") as stream:
        for number in range(_NUM_BLOCKS):
            if not whole:
                stream.seek(int(number * apart))
            digest.update(stream.read(_BLOCK_BYTES))
    return {"bytes": size, "sha256_of_blocks": digest.hexdigest()}

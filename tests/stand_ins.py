"""What may stand in the place of a file: no one may wait for it, or take memory for all of it."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path


def _socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as each:  # such names are short
        each.bind(path.name)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(3 << 30)


STAND_INS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a pipe": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": _socket,
    "a directory": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a file of 3 GiB": _sparse,
}


def removed(path: Path) -> None:
    """Remove what stands in a place, if anything does."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Copies of small files of object storage on the local disk, for what opens local files only."""

import atexit
import contextlib
import functools
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath, no_bucket

_LOG = logging.getLogger(__name__)


def local_copy(file: StoragePath) -> Path:
    """Return a local file of the same content and name: the file itself where it is local."""
    return local_folder(file.parent, [file.name]) / file.name


def local_folder(folder: StoragePath, names: Iterable[str]) -> Path:
    """Return a local folder with those of the files that are in ``folder``; the folder itself if it is local.

    Copies are made anew at every call, and kept where temporary files are until this process ends.
    """
    if isinstance(folder, Path):
        return folder
    copies = Path(tempfile.mkdtemp(dir=_root()))
    for name in names:
        if (folder / name).is_file():
            (folder / name).download(copies / name)
    return copies


@contextlib.contextmanager
def local_directory(folder: StoragePath) -> Iterator[Path]:
    """Yield a local directory with all that is in ``folder``, which is deleted after that.

    Yields ``folder`` itself if it is local.

    Raises:
      DataError: if there is nothing, or the disk of temporary files has no room for it.
    """
    if isinstance(folder, Path):
        yield folder
        return
    sizes = folder.sizes()
    if not sizes:
        raise DataError(
            f"{folder} is no folder: no object's name begins with {folder}/{no_bucket(folder)}; check "
            "the address"
        )
    root = tempfile.gettempdir()
    needed, free = sum(sizes.values()), shutil.disk_usage(root).free
    if needed > free:
        raise DataError(
            f"{folder} has {needed:,} bytes, and {root} has room for {free:,}; name a larger disk by TMPDIR, "
            "or give a folder that holds less"
        )
    _LOG.info("%s: %d files, %s bytes, are copied to %s", folder, len(sizes), f"{needed:,}", root)
    with tempfile.TemporaryDirectory(prefix="t5lite-") as local:
        for name in sizes:
            target = Path(local, name)
            if Path(local) not in target.resolve().parents:
                raise DataError(f"{folder} has an object {name!r}, which is no name of a file; delete it")
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).download(target)
        yield Path(local)


@functools.cache
def _root() -> str:
    root = tempfile.mkdtemp(prefix="t5lite-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root

"""The path of a run's checkpoints as Orbax has to take it: as it is written."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from etils import epath
from etils.epath.gpath import PosixGPath

from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place


class LiteralPath(PosixGPath):
    """A path whose own characters are never a pattern: ``lr[3e-4]`` is that directory.

    Orbax finds the parts of a checkpoint by ``directory.glob("ocdbt.process_*")``, and epath's ``glob`` takes
    the directory for a part of the pattern. Then nothing (or something of another directory) matches, and
    the save ends without an error and without an index of its arrays. Paths made from this one are of its
    class too.
    """

    def glob(self, pattern: str) -> Iterator[Self]:
        """Yield what matches ``pattern`` in this directory."""
        for found in epath.Path(glob.escape(str(self))).glob(pattern):
            yield type(self)(found)


def checkpoint_path(directory: epath.PathLike) -> LiteralPath:
    """Return the absolute path of a directory of checkpoints; nothing is read or made.

    Raises:
      ConfigError: if Orbax or TensorStore would take it for another place.
    """
    found = place(directory)
    if not isinstance(found, Path):
        return found
    given = str(found.absolute())
    path = LiteralPath(given)
    reason = None
    if str(path) != given:
        reason = f"Orbax takes it for the address {path}"
    elif "\\" in given:
        reason = "TensorStore takes a backslash for a separator of folders"
    elif given != given.encode(errors="replace").decode():
        reason = "the path is not UTF-8, and TensorStore opens no other"
    if reason:
        raise ConfigError(f"{given!r} cannot hold checkpoints: {reason}; choose another place")
    return path

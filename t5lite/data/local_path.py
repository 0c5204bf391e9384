"""The paths of the data package are local; an address of object storage is recognised and refused."""

import re
from pathlib import Path

from t5lite.core.errors import DataError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""A part of a path: ``gs://bucket/x`` has the parts ``gs:``, ``bucket`` and ``x``."""


def local_path(path: str | Path) -> Path:
    """Return ``path`` as a ``Path``.

    Raises:
      DataError: for an address such as ``gs://bucket/directory``, also after it was made "absolute".
    """
    path = Path(path)
    for position, part in enumerate(path.parts):
        if _SCHEME.fullmatch(part) and not Path(*path.parts[: position + 1]).exists():
            address = f"{part}//{'/'.join(path.parts[position + 1 :])}"
            raise DataError(
                f"{address} is not a local path: mount or copy it; object storage is not read directly yet"
            )
    return path

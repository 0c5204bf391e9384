"""A whole file under a temporary name, from where it gets its own by one act."""

import os
import tempfile
from pathlib import Path


def written_beside(path: Path, content: bytes) -> Path:
    """Return a new file in the directory of ``path`` that holds ``content``, on the disk and readable by all.

    Raises:
      OSError: if it cannot be written; nothing is left of it then.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary

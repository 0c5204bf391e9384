"""A whole file under a temporary name, from where it gets its own by one act."""

import os
import secrets
from pathlib import Path


def written_beside(path: Path, content: bytes) -> Path:
    """Return a new file in the directory of ``path`` that holds ``content``, on the disk.

    Who may read it is up to the user's umask.

    Raises:
      OSError: if it cannot be written; nothing is left of it then.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with temporary.open("xb") as stream:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return temporary

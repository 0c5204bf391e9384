"""Make a file that is not there yet: of several who try, one succeeds. The only lock that buckets have."""

import contextlib
import errno
import os
from pathlib import Path

from t5lite.core.bounded_reads import open_regular
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.temporary_files import written_beside

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def create_exclusively(path: StoragePath, content: bytes) -> bool:
    """Make ``path`` with ``content`` and return True; return False if it is there, with other content.

    Object storage makes an object under the condition that there is none (``ifGenerationMatch=0`` of Google,
    ``If-None-Match: *`` of S3). On a file system a whole file gets its name by a link, which NFS too makes
    for one client only; where there are no links, by ``O_EXCL``.

    Args:
      path: its directory must exist, on a file system.
      content: unlike that of anyone else who tries. By it a first try that succeeded, and whose answer was
        lost on the way, is known.

    Raises:
      OSError: if it cannot be written.
      TransientError: if object storage does not answer.
    """
    try:
        if isinstance(path, Path):
            _create_locally(path, content)
        else:
            path.create(content)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError), open_regular(path) as stream:
            return stream.read(len(content) + 1) == content
        return False
    return True


def _create_locally(path: Path, content: bytes) -> None:
    try:
        temporary = written_beside(path, content)
        try:
            _link(temporary, path, content)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error.filename = error.filename or str(path)  # of a full disk the system names no file
        raise


def _link(temporary: Path, path: Path, content: bytes) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as stream:
            stream.write(content)

"""Git LFS pointers: the few lines that a repository has in place of a large file that was not fetched."""

from pathlib import Path

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import UserError

LARGEST_POINTER_BYTES = 1024
"""A pointer is shorter, says its specification."""
_FIRST_LINE = b"version https://git-lfs.github.com/spec/"


def check_not_lfs_pointer(path: Path) -> None:
    """Refuse a file that Git LFS has not fetched; what is missing or cannot be read passes.

    Raises:
      UserError: with the remedy.
    """
    try:
        is_small = path.stat().st_size < LARGEST_POINTER_BYTES
        content = read_at_most(path, LARGEST_POINTER_BYTES) if is_small else b""
    except OSError:
        return
    check_content_is_no_lfs_pointer(content, path)


def check_content_is_no_lfs_pointer(content: bytes, path: object) -> None:
    """Refuse the content of a file that Git LFS has not fetched; ``path`` is for the message.

    Raises:
      UserError: with the remedy.
    """
    if content.startswith(_FIRST_LINE):
        raise UserError(
            f"{path} is a Git LFS pointer, not the file that it stands for; run `git lfs pull` in the clone, "
            "or download the file"
        )

"""Deleting a quickstart to start over: what it wrote, and nothing else.

A quickstart grows for hours, and its runs go on growing under other commands, so no list of what was written
could be kept of the whole. What a run or the report consists of is known by name; token stores and the export
carry lists of their own (see ``core.written_files``).
"""

import re
from pathlib import Path
from typing import Any

from t5lite.core import files, written_files
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import StoragePath
from t5lite.runner.run_directory import FILES, FOLDERS

MARK = "quickstart.json"
"""By which a quickstart's directory is known."""
_RUN = "|".join([*map(re.escape, FILES), *(f"{folder}/{inside}" for folder, inside in FOLDERS.items())])
_WRITTEN = re.compile(
    r"(README\.txt|quickstart\.json|results\.json|report\.html|plots/[^/]+\.png|stages/[^/]+\.json"
    rf"|data/vocabulary/spiece\.model|(pretrain|finetune/[^/]+)/({_RUN}))",
    re.DOTALL,
)
"""What a quickstart writes without a list, by its relative name."""
_LISTED = re.compile(r"export|data/(pretrain|translation|classification)/[^/]+")
"""The folders that it writes with a list."""


def delete(directory: StoragePath) -> None:
    """Delete what a quickstart left in ``directory``.

    Raises:
      ConfigError: if it is none.
      UserError: if it holds anything else, or the user is in it; nothing is deleted.
    """
    if not (directory / MARK).is_file():
        raise ConfigError(f"{directory} is not a quickstart's directory; it is not deleted")
    files.check_replaceable_place(directory)
    written = _of_kind(directory)
    names: list[str] = list(written.entries(directory))
    others = {name for name in names if not _WRITTEN.fullmatch(name) or (directory / name).is_symlink()}
    for folder in {parent.as_posix() for name in names for parent in Path(name).parents}:
        foreign = written.foreign(directory / folder) if _LISTED.fullmatch(folder) else None
        if foreign is not None:
            listed = {name for name in others if name.startswith(f"{folder}/")}
            others -= listed - {f"{folder}/{name}" for name in foreign}
    written_files.check_none(directory, sorted(others))
    written.delete_all_but(directory, (MARK,))  # what a kill leaves is still a quickstart's
    written.delete_all_but(directory, ())


def _of_kind(directory: StoragePath) -> Any:
    """Return what knows which files t5lite wrote, on disks or in buckets; only who uses the latter pays."""
    if isinstance(directory, Path):
        return written_files
    from t5lite.core.storage import bucket_directories

    return bucket_directories

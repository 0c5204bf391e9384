"""Which files of a task are trained on, and which are held out, by what they are called."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from t5lite.core.errors import ConfigError
from t5lite.data.heldout_split import HeldoutSplit, SplitByFile, SplitByHash
from t5lite.data.reading.input_files import RECORD_FORMATS, InputFiles, find_input_files
from t5lite.tasks.task import Splits

_SCORED = ("validation", "valid", "val", "dev", "test", "eval", "evaluation", "heldout")
"""Names of splits that are never trained on where there is something else."""
_LISTED = 4
Role = Literal["train", "heldout", "scored"]


class SplitFiles(NamedTuple):
    """The files to read, which rows of theirs are held out, and what to say of that."""

    inputs: InputFiles
    split: HeldoutSplit
    said: list[str]


def split_files(
    inputs: Sequence[str], heldout_inputs: Sequence[str], *, splits: Splits, heldout_fraction: float
) -> SplitFiles:
    """Return what to train on and what to hold out.

    Files that the task's ``splits`` name are that; a test split beside files to train on is neither, unless
    it is one of ``heldout_inputs``. Without files to hold out, a share of the rows is; without others, such
    splits are trained on, with a warning.

    Args:
      inputs: files, folders and globs.
      heldout_inputs: such whose rows are held out.
      splits: how the task's files are called.
      heldout_fraction: the share.

    Raises:
      UserError: as ``find_input_files``, and if a file is named for both.
    """
    found = find_input_files(inputs, allowed=RECORD_FORMATS)
    given = (
        find_input_files(heldout_inputs, allowed=RECORD_FORMATS) if heldout_inputs else InputFiles(sizes={})
    )
    if both := sorted({*found.paths} & {*given.paths} & {*inputs}):
        raise ConfigError(
            f"{both[0]} is one of --inputs and of --heldout-inputs; give --inputs alone what is trained on"
        )
    folders = {PurePosixPath(path).parent for path in found.paths}
    depth = 2 if len(folders) > 1 else 1  # a folder of all files says nothing of any
    roles = {path: _role(path, splits, depth) for path in found.paths if path not in given.sizes}
    train, named, unnamed = (
        [path for path, role in roles.items() if role == each] for each in ("train", "heldout", None)
    )
    exactly = [path for path in named if any(word in splits.heldout for word in _heads(*_parts(path)))]
    train = train or unnamed or list(roles)
    heldout = list(given.paths) or [path for path in exactly or named if path not in train]
    chosen = {*train, *heldout}
    others = [path for path in roles if path not in chosen]
    sizes = {path: size for path, size in found.sizes.items() if path in chosen} | {**given.sizes}
    kept = InputFiles(sizes=sizes, skipped=(*found.skipped, *given.skipped, *others))
    split = SplitByFile(frozenset(heldout)) if heldout else SplitByHash(heldout_fraction)
    if None not in roles.values() and "train" not in roles.values():
        said = f"warning: by their names, {_listed(train)} are not for training; there is nothing else for it"
        return SplitFiles(kept, split, [said])
    said = f"by their names, {_listed(train)} are for training"
    if heldout and not given.paths:
        said += f" and {_listed(heldout)} held out"
    if others:
        said += f"; left out: {_listed(others)}"
        said += "" if heldout else ", unless --heldout-inputs names it"
    return SplitFiles(kept, split, [said] if others or (heldout and not given.paths) else [])


def _role(path: str, splits: Splits, depth: int) -> Role | None:
    """Return what a file is for by its name, or else by its folder's; None where neither says it.

    A split is a word of a file's name, or the folder's whole name, but for shard numbers and endings:
    ``train-00000-of-00003.parquet``, ``glue-validation.array_record``, ``imdb_test.csv``.
    """
    name, folder = _parts(path)
    words = [*re.split(r"[-.]", name), *re.split(r"[-._]", name), *_heads(folder)[: depth - 1]]
    for word in words:
        if word in splits.train:
            return "train"
        if word in splits.heldout:
            return "heldout"
        if word in _SCORED:
            return "scored"
    return None


def _parts(path: str) -> tuple[str, str]:
    place = PurePosixPath(path.lower())
    return place.name, place.parent.name


def _heads(*names: str) -> list[str]:
    return [re.split(r"[-.]", name)[0] for name in names]


def _listed(paths: Iterable[str]) -> str:
    shown = list(paths)
    more = f" and {len(shown) - _LISTED:,} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more

"""From a user's rows to the pair stores of a task."""

import dataclasses
import re
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar

from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.data.heldout_split import HeldoutSplit, SplitByFile, SplitByHash
from t5lite.data.prepare import PrepareConfig, prepare_stores
from t5lite.data.reading.input_files import RECORD_FORMATS, InputFiles, find_input_files
from t5lite.data.stores.store_sinks import PairSink
from t5lite.data.stores.target_texts import TargetTexts
from t5lite.tasks.opening import check_task, open_task, to_json
from t5lite.tasks.rows import Form, TaskRows
from t5lite.tasks.task import Splits
from t5lite.tasks.task_reading import TaskReading

TASK_FILE = "task.json"
"""The task that stores were made for, beside them."""


@dataclass(frozen=True, kw_only=True)
class PrepareTaskConfig(PrepareConfig):
    """Turns files of rows with named columns into the pair stores of a task (`t5lite tasks` lists them)."""

    task: str
    """Name of a task, or a .json or .yaml file that describes one."""

    columns: tuple[tuple[str, str], ...] = ()
    """Columns of the task, each with what the files call it: premise sentence1."""

    constants: tuple[tuple[str, str], ...] = ()
    """Fields of the template that are the same in all rows: target_language French."""

    heldout_inputs: tuple[str, ...] = ()
    """Files, folders and globs whose rows are held out, instead of a share of the others. A folder with
    files called train and validation (or dev) needs none."""

    form: Form = "inputs"
    """The task's template of the inputs, or the one in the words of an instruction."""

    shots: int | None = None
    """Solved examples before every input, drawn from the training rows by the seed; the task's own number by
    default, which is mostly none."""

    unit: ClassVar[str] = "pairs"

    def __post_init__(self):
        super().__post_init__()
        expand_fields(self, "heldout_inputs")
        check_task(self.task)
        for option in ("columns", "constants"):
            names = [name for name, _ in getattr(self, option)]
            if repeated := [name for name in names if names.count(name) > 1]:
                raise ConfigError(f"--{option} names {repeated[0]!r} twice; name it once")

    def prepare(self, *, command: str | None = None) -> dict[str, Any]:
        """Do so; see ``prepare_task``."""
        return prepare_task(self, command=command)


def prepare_task(config: PrepareTaskConfig, *, command: str | None = None) -> dict[str, Any]:
    """Prepare the stores of a task; return the report that is also written to ``prepare.json``.

    Beside the stores stands the task itself, ``task.json``.

    Args:
      config: what to read and where to write.
      command: what the user typed, for the report.

    Raises:
      UserError: for any input that cannot be used; nothing is left behind.
    """
    task = open_task(config.task)
    task = dataclasses.replace(
        task,
        constants={**task.constants, **dict(config.constants)},
        shots=task.shots if config.shots is None else config.shots,
    )
    make = TaskRows(task=task, form=config.form, renamed=config.columns)
    inputs, split, said = _files(config, task.splits)
    targets = TargetTexts()
    reading = TaskReading(inputs, make, split, seed=config.seed, on_invalid_utf8=config.on_invalid_utf8)
    return prepare_stores(
        config,
        inputs,
        read=reading.read,
        split=split,
        split_by=lambda row: row.whole,
        vocabulary_texts=lambda row: row.texts,
        open_sink=partial(
            PairSink.enter,
            num_threads=config.num_threads,
            targets=targets,
            complete=reading.complete,
        ),
        shuffle=False,  # training shuffles pairs one by one
        unit="pairs",
        remarks=lambda files: [*said, targets.remark(), *reading.remarks()],
        command=command,
        beside={TASK_FILE: to_json(task)},
    )


def _files(config: PrepareTaskConfig, splits: Splits) -> tuple[InputFiles, HeldoutSplit, list[str]]:
    """Return the files, which rows of theirs are held out, and what to say of that."""
    found = find_input_files(config.inputs, allowed=RECORD_FORMATS)
    if config.heldout_inputs:
        heldout = find_input_files(config.heldout_inputs, allowed=RECORD_FORMATS)
        if both := sorted({*found.paths} & {*heldout.paths}):
            raise ConfigError(
                f"{both[0]} is one of --inputs and of --heldout-inputs; give --inputs alone what is "
                "trained on"
            )
        together = InputFiles(
            sizes={**found.sizes, **heldout.sizes}, skipped=(*found.skipped, *heldout.skipped)
        )
        return together, SplitByFile(frozenset(heldout.paths)), []
    by_name = _by_name(config.inputs, found, splits)
    return (found, SplitByHash(config.heldout_fraction), []) if by_name is None else by_name


def _by_name(
    given: tuple[str, ...], found: InputFiles, splits: Splits
) -> tuple[InputFiles, HeldoutSplit, list[str]] | None:
    """Return the same for a folder whose files are called by the splits; None for anything else."""
    if len(given) != 1 or set(given) & set(found.paths):
        return None
    train = [path for path in found.paths if _is_called(path, splits.train)]
    heldout = [path for path in found.paths if _is_called(path, splits.heldout) and path not in train]
    if not train or not heldout:
        return None
    sizes = {path: found.sizes[path] for path in (*train, *heldout)}
    others = [path for path in found.paths if path not in sizes]
    said = f"by their names, {', '.join(train)} are for training and {', '.join(heldout)} held out"
    left_out = f"; left out: {', '.join(others)}" if others else ""
    return (
        InputFiles(sizes=sizes, skipped=(*found.skipped, *others)),
        SplitByFile(frozenset(heldout)),
        [said + left_out],
    )


def _is_called(path: str, names: tuple[str, ...]) -> bool:
    """Whether a file, or the folder it is in, is called so, but for shard numbers and endings."""
    place = PurePosixPath(path)
    return any(re.split(r"[.-]", part)[0] in names for part in (place.name, place.parent.name))

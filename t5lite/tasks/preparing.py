"""From a user's rows to the pair stores of a task."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.data.prepare import PrepareConfig, prepare_stores
from t5lite.data.stores.store_sinks import PairSink
from t5lite.data.stores.target_texts import TargetTexts
from t5lite.tasks.opening import check_task, open_task, to_json
from t5lite.tasks.rows import Form, LabelledRows
from t5lite.tasks.split_files import split_files
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
    make = LabelledRows(task=task, form=config.form, renamed=config.columns)
    inputs, split, said = split_files(
        config.inputs,
        config.heldout_inputs,
        splits=task.splits,
        heldout_fraction=config.heldout_fraction,
    )
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
            labels_of=(lambda row: row.labels) if task.labels else None,
        ),
        shuffle=False,  # training shuffles pairs one by one
        unit="pairs",
        remarks=lambda files: [*said, targets.remark(), *reading.remarks()],
        command=command,
        beside={TASK_FILE: to_json(task)},
    )

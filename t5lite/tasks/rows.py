"""A task's inputs and targets out of the rows of files."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from t5lite.core.errors import ConfigError, suggestion
from t5lite.data.reading.record_texts import found
from t5lite.data.reading.rows import Lose
from t5lite.data.reading.tally import Loss
from t5lite.tasks.left_out import LeftOutError
from t5lite.tasks.task import Task

Form = Literal["inputs", "instruction"]
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """Makes ``[inputs, targets, other_targets, *texts]`` of a row, as a task has them.

    ``other_targets`` are as right as ``targets``; ``texts`` are those of its fields, without what the
    templates add.
    """

    task: Task
    form: Form = "inputs"
    """Which of the task's templates an input is made by."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Columns of the task, and what the file calls each."""

    def __post_init__(self):
        known = self.task.columns(self.form)
        for column, _ in self.renamed:
            if column not in known:
                raise ConfigError(
                    f"--columns names {column!r}, which is no column of the task {self.task.name}"
                    f"{suggestion(column, known)}"
                )

    @cached_property
    def _theirs(self) -> dict[str, str]:
        names = dict(self.renamed)
        return {column: names.get(column, column) for column in self.task.columns(self.form)}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, as the file calls them."""
        return tuple(dict.fromkeys(self._theirs.values()))

    @property
    def optional(self) -> Collection[str]:
        """Those that may be missing, null or empty."""
        needed = {
            self._theirs[column]
            for name in (*self._fields, *self.task.labels.values())
            if not self.task.made_of(name).may_be_empty
            for column in self.task.made_of(name).columns(name)
        }
        return frozenset(self.columns) - needed

    @property
    def other_names(self) -> str:
        """How a column of another name is read."""
        return f"say what the task's columns ({', '.join(self._theirs)}) are called by --columns OURS THEIRS"

    @cached_property
    def _fields(self) -> tuple[str, ...]:
        templates = (self.task.templates[self.form], self.task.templates["targets"])
        names = dict.fromkeys(name for template in templates for name in template.fields)
        return tuple(name for name in names if name not in self.task.constants)

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[Any] | None:
        """Return these of a row; None, counted, if the row is no example.

        Raises:
          ValueError: if a value cannot be used, naming its column.
        """
        texts, others = dict(self.task.constants), {}
        for name in self._fields:
            made_of = self.task.made_of(name)
            try:
                texts[name] = self._made(name, made_of.text, row)
                others[name] = self._made(name, made_of.others, row)
            except LeftOutError as error:
                lose(error.loss)
                return None
            column = self._theirs[made_of.columns(name)[0]]
            if made_of.is_text and not isinstance(row.get(column), str | None):
                lose(Loss.NUMBER)
        inputs, targets = (self.task.templates[name].render(texts) for name in (self.form, "targets"))
        template = self.task.templates["targets"]
        also = tuple(
            template.render({**texts, name: each})
            for name in template.fields
            for each in others.get(name, ())
        )
        return [inputs, targets, also, *(texts[name] for name in self._fields)]

    def _made(self, name: str, make: Callable[[Sequence[Any]], _Made], row: Mapping[str, Any]) -> _Made:
        """Return what ``make`` makes of the columns of a field, whose names are in what it raises."""
        columns = [self._theirs[column] for column in self.task.made_of(name).columns(name)]
        try:
            return make([row.get(column) for column in columns])
        except LeftOutError:
            raise
        except ValueError as error:
            said = "columns" if len(columns) > 1 else "column"
            raise ValueError(f"{said} {', '.join(map(repr, columns))}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class LabelledRows(TaskRows):
    """Makes ``[labels, inputs, targets, *texts]`` of a row; labels are what heads learn, in JSON."""

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[Any] | None:
        """Return them; errors as of ``TaskRows``."""
        made = super().__call__(row, lose)
        if made is None:
            return None
        try:
            labels = {
                role: self._made(name, self.task.made_of(name).label, row)
                for role, name in self.task.labels.items()
            }
        except LeftOutError as error:
            lose(error.loss)
            return None
        if _has_one_tag_a_word(labels):
            return [json.dumps(labels, ensure_ascii=False), *made]
        lose(Loss.UNEVEN)
        return None


def _has_one_tag_a_word(labels: Mapping[str, Any]) -> bool:
    """Return whether labels have so, where they are of words."""
    return "tags" not in labels or "words" not in labels or len(labels["tags"]) == len(labels["words"])


def example_texts(task: Task, form: Form = "inputs") -> Sequence[str]:
    """Return inputs and targets of the task's own example row."""
    make = TaskRows(task=task, form=form)
    row = {column: found(task.example, column) for column in make.columns}
    return (make(row, lambda loss: None) or [])[:2]

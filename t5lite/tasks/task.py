"""What a task is."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.tasks.fields import AnyField, TaskField, Text
from t5lite.tasks.template import Template


@dataclass(frozen=True, kw_only=True)
class Splits:
    """How the files of a folder are called that are for training, and those held back, without their ending.

    A folder that has both is read so; of other files, a share of the rows is held back.
    """

    train: tuple[str, ...] = ("train",)
    heldout: tuple[str, ...] = ("validation", "valid", "dev")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A use of rows with named columns: what a model reads and writes of a row, and how that is scored.

    An encoder-decoder reads the inputs and writes the targets, a decoder-only model goes on from the inputs
    with the targets; where the targets name classes, an encoder-only model tells them apart.
    """

    name: str
    """What recipes and commands call it."""
    about: str = ""
    """A line that says what it is."""
    inputs: str = "{inputs}"
    """Template of what is read; its fields are columns, or in ``fields`` or ``constants``."""
    targets: str = "{targets}"
    """Template of what is written."""
    instruction: str = ""
    """Template of what is read, in the words of somebody who asks; empty for the same as ``inputs``."""
    fields: Mapping[str, AnyField] = dataclasses.field(default_factory=dict)
    """What a template's field is made of, where that is not the text in the column of its name."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What a store keeps for heads of encoder-only models, by what it is to them: the field that is the
    ``number``, or the ``words`` and the ``tags`` (docs/encoders.md)."""
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Texts of fields that are the same in all rows, such as the names of two languages."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Names of metrics (``evaluation.metrics.METRICS``), in the order of a report; higher is better."""
    decoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How text that is scored is written, by the options of ``t5lite generate``, such as
    ``{"strategy": "beam", "num_beams": 4}`` (``decoding.options``); empty for greedy search."""
    inputs_length: int = 512
    """Tokens that a model reads of an input."""
    targets_length: int = 64
    """Tokens that it is trained on and writes of a target at most, the end included."""
    splits: Splits = Splits()
    shots: int = 0
    """Solved examples before every input, drawn from the training rows."""
    shot_delimiter: str = "\n\n"
    """Between the examples that stand before an input."""
    answer_delimiter: str = " "
    """Between the inputs and the targets of such an example."""
    example: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """A row, by column."""

    def __post_init__(self):
        if not self.name.strip():
            raise ConfigError("a task needs a name")
        for length in ("inputs_length", "targets_length"):
            if (value := getattr(self, length)) < 1:
                raise ConfigError(f"{length}={value} of the task {self.name} must be positive")
        if self.shots < 0:
            raise ConfigError(f"shots={self.shots} of the task {self.name} must be at least 0")
        if not self.metrics:
            raise ConfigError(f"the task {self.name} has no metrics; name one at least, such as accuracy")
        named = {name for template in self.templates.values() for name in template.fields}
        named |= {*self.labels.values()}
        for kind in ("fields", "constants"):
            for name in getattr(self, kind):
                if name not in named:
                    raise ConfigError(
                        f"{kind} of the task {self.name} has {name!r}, which no template names"
                        f"{suggestion(name, named)}"
                    )
        for name in ("inputs", "targets"):
            if not set(self.templates[name].fields) - set(self.constants):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} of the task {self.name} names no column: it "
                    "would be the same for all rows; write {COLUMN} where its text belongs"
                )

    @cached_property
    def templates(self) -> dict[str, Template]:
        """The templates of inputs, targets and instruction."""
        texts = {
            "inputs": self.inputs,
            "targets": self.targets,
            "instruction": self.instruction or self.inputs,
        }
        return {name: Template.parse(text, name=f"{name} of {self.name}") for name, text in texts.items()}

    def made_of(self, name: str) -> TaskField:
        """Return what a field of a template is made of."""
        return self.fields.get(name, _TEXT)

    def columns(self, form: str = "inputs") -> tuple[str, ...]:
        """Return the columns that a row needs for this form of the inputs and for the targets, each once."""
        names = (*self.templates[form].fields, *self.templates["targets"].fields, *self.labels.values())
        columns = (
            each for name in names if name not in self.constants for each in self.made_of(name).columns(name)
        )
        return tuple(dict.fromkeys(columns))

    @cached_property
    def answers(self) -> tuple[str, ...] | None:
        """All targets that there can be, where the fields of their template say so; None: any."""
        template = self.templates["targets"]
        names = [name for name in template.fields if name not in self.constants]
        choices = [choice for name in names if (choice := self.made_of(name).choices()) is not None]
        if len(choices) < len(names):
            return None
        values = (dict(zip(names, each, strict=True)) for each in itertools.product(*choices))
        return tuple(dict.fromkeys(template.render({**self.constants, **each}) for each in values))

    @property
    def has_classes(self) -> bool:
        """Whether the targets name classes, which the vocabulary has to tell apart."""
        return any(self.made_of(name).names_class for name in self.templates["targets"].fields)

    @property
    def compares_texts(self) -> bool:
        """Whether rows say how texts go together, so that inputs may stand beside several others."""
        return not {"negative", "similarity"}.isdisjoint(self.labels)


_TEXT = Text()

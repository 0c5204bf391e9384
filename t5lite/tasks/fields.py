"""What a field of a template is made of: columns of a row, and what they hold."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.registry import union_of
from t5lite.tasks.answer_places import answer_places
from t5lite.tasks.left_out import MisplacedError, NoLabelError, NotThereError
from t5lite.tasks.tagged_words import (
    ENTITY_SEPARATOR,
    SPAN_SEPARATOR,
    bracketed_roles,
    check_tag_names,
    check_words,
    spans,
    tag_of,
)
from t5lite.tasks.words import alphanumeric_words, pad_punctuation

_SHOWN_CHARACTERS = 40
_WHOLE = re.compile(r"(-?\d+)\.0*")


@dataclass(frozen=True, kw_only=True)
class TaskField(ABC):
    """How the text of a field is made of the columns of a row."""

    names_class: ClassVar[bool] = False
    """Whether its texts are names of classes."""
    may_be_empty: ClassVar[bool] = False
    """Whether a row without it is an example, too."""
    is_text: ClassVar[bool] = False
    """Whether a text is expected, so that it is said where there are numbers instead."""

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns that a field called ``name`` is made of: that of its name."""
        return (name,)

    @abstractmethod
    def text(self, values: Sequence[Any]) -> str:
        """Return the field's text; ``values`` are those of its columns.

        Raises:
          LeftOutError: if the row is no example.
          ValueError: if they cannot be used, saying why.
        """

    def choices(self) -> tuple[str, ...] | None:
        """Return all texts that there can be, where the field itself says so; None: any."""
        return None

    def others(self, values: Sequence[Any]) -> tuple[str, ...]:
        """Return texts that would be as right as ``text``, without it."""
        del values
        return ()

    def label(self, values: Sequence[Any]) -> Any:
        """Return what a head learns of the field, for JSON: the text, if it says nothing else.

        Raises:
          ValueError: as ``text``.
        """
        return self.text(values)


@dataclass(frozen=True, kw_only=True)
class Text(TaskField):
    """A text, as it is; numbers and booleans as they are written."""

    is_text: ClassVar[bool] = True

    def text(self, values: Sequence[Any]) -> str:
        """Return it."""
        return _scalar(values[0])


@dataclass(frozen=True, kw_only=True)
class OptionalText(Text):
    """A text that may be missing, null or empty."""

    may_be_empty: ClassVar[bool] = True

    def text(self, values: Sequence[Any]) -> str:
        """Return it, or nothing."""
        return "" if values[0] is None else super().text(values)


@dataclass(frozen=True, kw_only=True)
class PaddedPunctuation(Text):
    """A text with spaces around punctuation, as T5 was trained to read and write questions and answers."""

    def text(self, values: Sequence[Any]) -> str:
        """Return it."""
        return pad_punctuation(super().text(values))


@dataclass(frozen=True, kw_only=True)
class Answers(TaskField):
    """Answers that are all right, a list of texts or one: the first is written, each counts when scored."""

    pad_punctuation: bool = False
    """Whether they have spaces around punctuation, as T5's SQuAD."""

    def text(self, values: Sequence[Any]) -> str:
        """Return the first."""
        return self._all(values)[0]

    def others(self, values: Sequence[Any]) -> tuple[str, ...]:
        """Return the others, each once."""
        return self._all(values)[1:]

    def _all(self, values: Sequence[Any]) -> tuple[str, ...]:
        given = values[0] if isinstance(values[0], list) else values
        texts = [text for text in map(_scalar, given) if text.strip()]
        if not texts:
            raise ValueError("there is no answer")
        return tuple(dict.fromkeys(map(pad_punctuation, texts) if self.pad_punctuation else texts))


@dataclass(frozen=True, kw_only=True)
class ClassName(Text):
    """The name of a class, of which any there are."""

    is_text: ClassVar[bool] = False
    names_class: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Label(TaskField):
    """The name of one of these classes, given by it or by its number from 0.

    Names that are numbers themselves are given by name alone: of ``("1", "2")``, 1 is the first. A number
    may be written as data frames do where a label is missing (``1.0``), and false and true are 0 and 1 where
    they are no names.
    """

    names: tuple[str, ...]
    names_class: ClassVar[bool] = True

    def __post_init__(self):
        if len(set(self.names)) < max(len(self.names), 2) or not all(name.strip() for name in self.names):
            raise ConfigError(f"names={list(self.names)} must be two or more names, each another one")

    def choices(self) -> tuple[str, ...]:
        """Return the names."""
        return self.names

    def text(self, values: Sequence[Any]) -> str:
        """Return the name."""
        given = _scalar(values[0]).strip()
        whole = _WHOLE.fullmatch(given)
        number, spellings = whole[1] if whole else given, [given]
        if isinstance(values[0], bool):
            number, spellings = str(int(values[0])), [given, given.lower()]
        for name in (*spellings, number):
            if name in self.names:
                return name
        has_numbers = any(name.isdecimal() for name in self.names)
        if number.isdecimal() and int(number) < len(self.names) and not has_numbers:
            return self.names[int(number)]
        if number in ("-1", "-"):
            raise NoLabelError
        numbers = f", or their numbers 0..{len(self.names) - 1}" if not has_numbers else " (by name alone)"
        raise ValueError(
            f"unknown label {given[:_SHOWN_CHARACTERS]!r}{suggestion(given, self.names)}{numbers}"
        )


@dataclass(frozen=True, kw_only=True)
class Number(TaskField):
    """A finite number, as it is written."""

    unlabelled: float | None = None
    """The number that stands where there is none, as -1 does in GLUE's test splits."""

    def text(self, values: Sequence[Any]) -> str:
        """Return it."""
        self.label(values)
        return _scalar(values[0]).strip()

    def label(self, values: Sequence[Any]) -> float:
        """Return it as a number."""
        number = _finite(values[0])
        if number == self.unlabelled:
            raise NoLabelError
        return number


@dataclass(frozen=True, kw_only=True)
class RoundedNumber(Number):
    """A number, rounded to a step and written so: T5's STS-B, in steps of 0.2, tells 26 classes apart."""

    step: float = 0.2
    decimals: int = 1

    def __post_init__(self):
        if not 0 < self.step < math.inf or self.decimals < 0:
            raise ConfigError(f"step={self.step} must be above 0, and decimals={self.decimals} at least 0")

    def text(self, values: Sequence[Any]) -> str:
        """Return the number, rounded in float32 as T5 does: halves to the even one."""
        number, steps_per_unit = self.label(values), np.float32(1 / self.step)
        return f"{np.round(np.float32(number) * steps_per_unit) / steps_per_unit:.{self.decimals}f}"


@dataclass(frozen=True, kw_only=True)
class SimilarityScore(Number):
    """How alike the texts of a pair are, on any scale; NaN, as data frames write it, says that none knows."""

    def label(self, values: Sequence[Any]) -> float:
        """Return it as a number."""
        if _scalar(values[0]).strip().lower() == "nan":
            raise NoLabelError
        return super().label(values)


@dataclass(frozen=True, kw_only=True)
class Words(TaskField):
    """Words, given as a list or separated by spaces."""

    def text(self, values: Sequence[Any]) -> str:
        """Return them with spaces between them."""
        return " ".join(check_words(values[0]))

    def label(self, values: Sequence[Any]) -> list[str]:
        """Return the list of them."""
        return check_words(values[0])


@dataclass(frozen=True, kw_only=True)
class Tags(TaskField):
    """BIO tags of words, given as a list or separated by spaces, or by their numbers."""

    tag_names: tuple[str, ...] = ()
    """Of tags that are given by their numbers."""

    def __post_init__(self):
        check_tag_names(self.tag_names)

    def text(self, values: Sequence[Any]) -> str:
        """Return them with spaces between them."""
        return " ".join(self.label(values))

    def label(self, values: Sequence[Any]) -> list[str]:
        """Return the list of them."""
        given = values[0].split() if isinstance(values[0], str) else values[0]
        if not isinstance(given, list) or not given:
            raise ValueError(f"tags are a list, or a text with spaces between them, not {given!r:.60}")
        return [tag_of(each, self.tag_names) for each in given]


@dataclass(frozen=True, kw_only=True)
class Turns(TaskField):
    """Texts that follow each other: a list of them, or one."""

    separator: str = "\n"

    def text(self, values: Sequence[Any]) -> str:
        """Return them, the separator between them."""
        turns = values[0] if isinstance(values[0], list) else values
        return self.separator.join(map(_scalar, turns))


@dataclass(frozen=True, kw_only=True)
class WordSpan(TaskField):
    """Where an answer stands in a text: ``start: 2 end: 3``, by words from 0, its first and its last."""

    context_column: str = "context"
    answer_column: str = "answers.text.0"

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of the text and of the answer."""
        return (self.context_column, self.answer_column)

    def text(self, values: Sequence[Any]) -> str:
        """Return the place.

        Raises:
          NotThereError: if the answer's words do not stand there.
        """
        context, answer = (alphanumeric_words(_scalar(value)) for value in values)
        # T5's own search leaves out the last place, so that an answer at the very end is not found.
        for start in range(len(context) - len(answer) + 1):
            if answer and context[start : start + len(answer)] == answer:
                return f"start: {start} end: {start + len(answer) - 1}"
        raise NotThereError


@dataclass(frozen=True, kw_only=True)
class AnswerPlaces(TaskField):
    """Answers and the character of a text that each starts at, lists or one of each; none has no answer."""

    context_column: str = "context"
    text_column: str = "answers.text"
    start_column: str = "answers.answer_start"
    nothing: str = "none"
    """Written where there is no answer."""
    may_be_empty: ClassVar[bool] = True

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of the text, and of the answers and their places."""
        return (self.context_column, self.text_column, self.start_column)

    def text(self, values: Sequence[Any]) -> str:
        """Return the first answer."""
        return self._texts(values)[0]

    def others(self, values: Sequence[Any]) -> tuple[str, ...]:
        """Return the others, each once."""
        return self._texts(values)[1:]

    def label(self, values: Sequence[Any]) -> list[tuple[int, int]]:
        """Return where each begins and ends, in characters of the text.

        Raises:
          MisplacedError: if one does not stand where it is said to start.
        """
        if values[1] is None:
            raise ValueError("there are no answers; give an empty list, or text, where a question has none")
        texts, starts = (value if isinstance(value, list) else [value] for value in values[1:])
        places = answer_places(_scalar(values[0]), list(map(_scalar, texts)), starts)
        if places is None:
            raise MisplacedError
        return places

    def _texts(self, values: Sequence[Any]) -> tuple[str, ...]:
        context = _scalar(values[0])
        texts = (context[begin:end] for begin, end in self.label(values))
        return tuple(dict.fromkeys(texts)) or (self.nothing,)


@dataclass(frozen=True, kw_only=True)
class Entities(TaskField):
    """The named spans of words with BIO tags, as text: ``PER: Ada Lovelace; LOC: London``."""

    words_column: str = "tokens"
    tags_column: str = "tags"
    tag_names: tuple[str, ...] = ()
    """Of tags that are given by their numbers."""
    nothing: str = "none"
    """Written where there is no span."""

    def __post_init__(self):
        check_tag_names(self.tag_names)

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of the words and of their tags."""
        return (self.words_column, self.tags_column)

    def text(self, values: Sequence[Any]) -> str:
        """Return the spans in the order of the words."""
        words, found = check_words(values[0]), spans(*values, tag_names=self.tag_names)
        texts = [f"{kind}{SPAN_SEPARATOR}{' '.join(words[start:end])}" for kind, start, end in found]
        return ENTITY_SEPARATOR.join(texts) or self.nothing


@dataclass(frozen=True, kw_only=True)
class Roles(TaskField):
    """The words with the roles of a predicate in brackets: ``[ARG0 The cat] [V sat] [ARGM-LOC there] .``."""

    words_column: str = "tokens"
    tags_column: str = "tags"
    tag_names: tuple[str, ...] = ()
    """Of tags that are given by their numbers."""

    def __post_init__(self):
        check_tag_names(self.tag_names)

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of the words and of their tags."""
        return (self.words_column, self.tags_column)

    def text(self, values: Sequence[Any]) -> str:
        """Return them."""
        return bracketed_roles(check_words(values[0]), spans(*values, tag_names=self.tag_names))


@dataclass(frozen=True, kw_only=True)
class MarkedPredicate(TaskField):
    """The words with the predicate between asterisks: ``The cat * sat * there .``."""

    words_column: str = "tokens"
    predicate_column: str = "predicate"

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of the words, and of the predicate's number among them, from 0."""
        return (self.words_column, self.predicate_column)

    def text(self, values: Sequence[Any]) -> str:
        """Return them."""
        words, given = check_words(values[0]), _scalar(values[1])
        if not given.isdecimal() or int(given) >= len(words):
            raise ValueError(
                f"{self.predicate_column}={given[:_SHOWN_CHARACTERS]!r} is not the number of one of the "
                f"{len(words)} words, from 0"
            )
        place = int(given)
        return " ".join([*words[:place], "*", words[place], "*", *words[place + 1 :]])


if TYPE_CHECKING:
    AnyField: TypeAlias = TaskField
else:
    AnyField = union_of(TaskField, globals())
"""What a task's field may be; in JSON, its ``type`` says which."""


def _finite(value: Any) -> float:
    given = _scalar(value)
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{given[:_SHOWN_CHARACTERS]!r} is not a finite number")
    return number


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    inside = (
        "an item of it by its number, as in {answers.text.0}"
        if isinstance(value, list)
        else ("one of its fields, as in {answers.text}")
    )
    raise ValueError(f"is of type {type(value).__name__}, not a text; name {inside}")

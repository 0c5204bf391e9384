"""The texts of one record's fields, checked; messages name the record and say what it has instead."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from t5lite.core.errors import DataError, question
from t5lite.core.json_text import parse_json
from t5lite.data.reading.input_files import Progress
from t5lite.data.reading.tally import Loss, Tally

InvalidUtf8 = Literal["error", "replace"]

_HEAD_RECORDS = 1000
"""After these, and at its end, a file is refused if more than half of its records lack a field."""
_FLOATS = ("float", "double", "halffloat")
_ABSENT = object()


def found(record: Mapping[str, Any], field: str) -> Any:
    """Return the value of a field: of that name, or within others, as ``answers.text.0`` is in SQuAD's.

    Of a list of objects that all have it, it is the list of theirs. Returns ``_ABSENT`` if there is none.
    """
    if field in record:
        return record[field]
    value: Any = record
    for part in field.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif _have_all(value, part):
            value = [each[part] for each in value]
        else:
            return _ABSENT
    return value


def _have_all(value: Any, name: str) -> bool:
    """Whether a value is a list of objects with a field of that name; an empty one is, for any."""
    is_list = isinstance(value, list) and not name.isdecimal()
    return is_list and all(isinstance(each, Mapping) and name in each for each in value)


class _MissingFields:
    """How many records of a file lack a field, and what the first such one has."""

    def __init__(self):
        self._records = self._lacking = 0
        self._first = self._field = ""
        self._found: list[str] = []

    def add(self, record: Mapping[str, Any], fields: Iterable[str], place: str) -> bool:
        """Take a record; return whether it lacks one of ``fields``."""
        self._records += 1
        missing = next((field for field in fields if found(record, field) is _ABSENT), None)
        if missing is not None:
            if not self._lacking:
                self._first, self._field, self._found = place, missing, list(record)
            self._lacking += 1
        return missing is not None

    @property
    def is_head(self) -> bool:
        """Whether the records so far are those by which a file is judged before it ends."""
        return self._records == _HEAD_RECORDS

    def check(self, other_names: str) -> None:
        """Check that at least half of the records have all fields; ``other_names`` are read so."""
        if 2 * self._lacking <= self._records:
            return
        all_of_them = (
            f" and {self._lacking:,} of {self._records:,} records have" if self._records > 1 else " has"
        )
        asked = f"{hint} " if (hint := question(self._field, self._found)) else ""
        raise DataError(
            f"{self._first}{all_of_them} no field {self._field!r}; it has "
            f"{', '.join(map(repr, self._found)) or 'none'}: {asked}"
            f"{other_names}, or rename it where other records have {self._field!r}"
        )


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """The reading of one file: what its readers are told, and where they count what they lose."""

    path: str | Path
    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid bytes, or put U+FFFD in their place."""
    progress: Progress | None = None
    """Called with the bytes read."""
    tally: Tally = field(default_factory=Tally)
    label_fields: frozenset[str] = frozenset()
    """Fields whose integers and booleans are taken as text."""
    takes_texts_alone: ClassVar[bool] = True
    """Whether a column of another type can be told not to do before its rows are read."""
    needs_whole_records: bool = False
    """Whether the fields that are not asked for matter, too."""
    _missing: _MissingFields = field(default_factory=_MissingFields, init=False, repr=False, compare=False)

    def lose(self, loss: Loss, place: str) -> None:
        """Count a record of this file."""
        self.tally.count(loss, self.path, place)

    def json_texts(self, content: str | bytes, fields: Iterable[str], place: str) -> list[str] | None:
        """Return the texts of ``fields`` of a JSON object; None, and counted, if one is null or not there.

        Raises:
          DataError: if ``content`` is none, or as ``texts``.
        """
        try:
            record = parse_json(content)
        except ValueError as error:
            raise DataError(
                f"{place} is not valid JSON ({error}); each line must be one JSON object"
            ) from error
        if not isinstance(record, dict):
            raise DataError(f"{place} is a JSON {type(record).__name__}; each line must be one JSON object")
        return self.texts(record, fields, place)

    def texts(self, record: Mapping[str, Any], fields: Iterable[str], place: str) -> list[str] | None:
        """Return the texts of ``fields``, bytes decoded; None, and counted, if one is null or not there.

        Raises:
          DataError: if a field holds something else than text, or as ``check_fields`` after many records.
        """
        fields = list(fields)
        missing = self._missing.add(record, [each for each in fields if each not in self.optional], place)
        if self._missing.is_head:
            self.check_fields()
        if missing:
            self.lose(Loss.MISSING, place)
            return None
        values = [found(record, field) for field in fields]
        values = [None if value is _ABSENT else value for value in values]
        return self.row_texts(fields, values, place, record=record)

    def row_texts(
        self, fields: Sequence[str], values: Sequence[Any], place: str, *, record: Mapping[str, Any]
    ) -> list[str] | None:
        """Return the texts that the values of a record's fields stand for; None, and counted, if one is null.

        ``record`` is all of it, where that is needed.

        Raises:
          DataError: if a value is something else than text.
        """
        del record
        texts = [self._text(value, field, place) for field, value in zip(fields, values, strict=True)]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts):
            self.lose(Loss.NULL, place)
            return None
        if any(isinstance(value, int) for value in values):
            self.lose(Loss.INTEGER, place)
        return known

    @property
    def optional(self) -> Collection[str]:
        """Fields that a record need not have."""
        return ()

    @property
    def other_names(self) -> str:
        """How fields of other names are read."""
        return "name one of them"

    def check_fields(self) -> None:
        """Check that at least half of the records so far have the fields that were asked for.

        Raises:
          DataError: if not, naming what the first one of the others has.
        """
        self._missing.check(self.other_names)

    def whole(self, records: Iterable[list[str] | None]) -> Iterator[list[str]]:
        """Yield those of the file's ``records`` that were not lost.

        Raises:
          DataError: as ``check_fields``, at the end of the file.
        """
        for texts in records:
            if texts is not None:
                yield texts
        self.check_fields()

    def _text(self, value: Any, field: str, place: str) -> str | None:
        if value is None:
            return None
        if isinstance(value, bytes):
            return self.decoded(value, place, f"{place} field {field!r}")
        if isinstance(value, int) and field in self.label_fields:  # as a boolean is
            return str(value)
        if not isinstance(value, str):
            raise self.no_text(f"{place} field {field!r}", field, type(value).__name__)
        return self.without_surrogates(value, place)

    def no_text(self, name: str, field: str, kind: str) -> DataError:
        """Return the error for values of ``kind`` in ``field``, which messages call ``name``."""
        remedy = "convert it"
        if field in self.label_fields:
            remedy += " to a string or an integer"
            if kind in _FLOATS:
                remedy += ", since a class would have several spellings (1, 1.0, 1e0)"
        return DataError(f"{name} is of type {kind}, not a string; {remedy}")

    def decoded(self, content: bytes, place: str, name: str | None = None) -> str:
        """Return the text of UTF-8 ``content``; messages call it ``name``, or ``place``.

        Raises:
          DataError: if it is not UTF-8 and may not be mended.
        """
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.on_invalid_utf8 == "replace":
                self.lose(Loss.INVALID_UTF8, place)
                return content.decode("utf-8", errors="replace")
            raise DataError(
                f"{name or place} is not valid UTF-8 ({content[error.start]:#04x} is byte "
                f"{error.start + 1}); convert the file, or pass --on-invalid-utf8 replace"
            ) from error

    def without_surrogates(self, text: str, place: str) -> str:
        """Return a text that can be encoded: JSON can escape half of a surrogate pair, which is no character.

        Raises:
          DataError: if it cannot, and may not be mended.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            if self.on_invalid_utf8 == "replace":
                self.lose(Loss.INVALID_UTF8, place)
                return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            raise DataError(
                f"{place} escapes a lone surrogate (\\u{ord(text[error.start]):04x}); mend the line, "
                "or pass --on-invalid-utf8 replace"
            ) from error
        return text

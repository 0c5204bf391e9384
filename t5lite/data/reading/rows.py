"""Rows of files that have columns: the values of a row, of any type, are made into texts together."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from t5lite.core.errors import DataError
from t5lite.data.reading.input_files import Progress
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8
from t5lite.data.reading.tally import Loss, Tally
from t5lite.data.reading.text_files import read_files, records_of

Lose = Callable[[Loss], None]


class RowTexts(Protocol):
    """What makes texts of rows."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads; of nested JSON, paths such as ``answers.text.0``."""
        ...

    @property
    def optional(self) -> Collection[str]:
        """Those of them that may be missing, null or empty."""
        ...

    @property
    def other_names(self) -> str:
        """How a column of another name is read, for messages."""
        ...

    def __call__(self, row: Mapping[str, Any], lose: Lose) -> list[Any] | None:
        """Return what is made of a row, or None if it is left out; whoever leaves it out calls ``lose``.

        ``row`` has strings, numbers, booleans, lists or mappings by column; an optional one may be None or
        not there.

        Raises:
          ValueError: if a value cannot be used, saying which and why.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RowReading(FileReading):
    """The reading of one file of rows."""

    make: RowTexts
    takes_texts_alone: ClassVar[bool] = False

    @property
    def optional(self) -> Collection[str]:
        """Columns that a row need not have."""
        return self.make.optional

    @property
    def other_names(self) -> str:
        """How columns of other names are read."""
        return self.make.other_names

    def row_texts(
        self, fields: Sequence[str], values: Sequence[Any], place: str, *, record: Mapping[str, Any]
    ) -> list[Any] | None:
        """Return all of a row as a text, and what is made of it; None, and counted, if it is left out.

        Raises:
          DataError: if a value cannot be used.
        """
        row = {field: self._value(value, place) for field, value in zip(fields, values, strict=True)}
        needed = [value for column, value in row.items() if column not in self.optional]
        if any(value is None for value in needed):
            self.lose(Loss.NULL, place)
            return None
        if any(value == [] or (isinstance(value, str) and not value.strip()) for value in needed):
            self.lose(Loss.EMPTY, place)
            return None
        try:
            texts = self.make(row, lambda loss: self.lose(loss, place))
            return None if texts is None else [self._whole(record), *texts]
        except ValueError as error:
            raise DataError(f"{place}: {error}") from error

    def _whole(self, record: Mapping[str, Any]) -> str:
        return _written(record) if self.needs_whole_records else ""

    def _value(self, value: Any, place: str) -> Any:
        if isinstance(value, bytes):
            return self.decoded(value, place)
        if isinstance(value, str):
            return self.without_surrogates(value, place)
        if isinstance(value, list):
            return [self._value(item, place) for item in value]
        return value


def _written(record: Mapping[str, Any]) -> str:
    """Return all of a row as a text, whatever the order of its columns; numbers are as in a table."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False, default=_as_text)
    return text.replace('"', "")


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_rows(
    paths: Iterable[str | Path],
    make: RowTexts,
    *,
    on_invalid_utf8: InvalidUtf8 = "error",
    progress: Progress | None = None,
    tally: Tally | None = None,
    whole: bool = False,
) -> Iterator[list[Any]]:
    """Yield, of every row of all files in order, all of it as a text and what ``make`` returns.

    Args:
      paths: of the files.
      make: of each row.
      on_invalid_utf8: as of ``read_texts``, and so the next two.
      progress: of the bytes read.
      tally: of what is lost.
      whole: whether all of a row matters, so that its text is the same whichever columns ``make`` takes; else
        it is empty, and of a file of columns no others are read. Pictures and sounds as ``datasets`` keeps
        them, bytes beside a path, are no part of it.

    Raises:
      DataError: as ``read_texts``, for ``.txt`` files, which have no columns, and for a value that ``make``
        refuses.
    """
    tally = Tally() if tally is None else tally

    def rows(path: str | Path) -> Iterator[list[Any]]:
        reading = RowReading(
            path=path,
            on_invalid_utf8=on_invalid_utf8,
            progress=progress,
            tally=tally,
            make=make,
            needs_whole_records=whole,
        )
        return records_of(reading, make.columns)

    return read_files(rows, paths, tally)

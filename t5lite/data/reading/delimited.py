"""Rows of TSV and CSV files, as RFC 4180 has them, and of TSV files that know no quotes.

A cell in quotes may hold the separator, line ends (which become newlines) and, doubled, quotes. CSV is always
read so. Of TSV there are both kinds, and only the file can tell them apart: in one that a spreadsheet or a
data frame wrote, quotes stand around a cell because it needs them, or around all cells of a column; in plain
text, around some sentences.
"""

import itertools
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from t5lite.core.errors import DataError
from t5lite.data.reading.lines import MAX_DOCUMENT_BYTES, Line, lines_of
from t5lite.data.reading.record_texts import FileReading
from t5lite.data.reading.tally import Loss

SEPARATORS = {".tsv": "\t", ".csv": ","}
_INSIDE = re.compile(r'(?:[^"]|"")*+')
_NUMBER = re.compile(r"\s*[-+]?[\d.,]*(?:[eE][-+]?\d+)?\s*")
_HEAD_LINES = 1000
"""By these it is decided whether the quotes of a TSV file are syntax."""


def delimited_texts(reading: FileReading, kind: str, fields: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts of ``fields`` of each row; rows that do not fit the first one are counted.

    One with more columns is dropped: nobody knows which of its separators belongs to a text. One with fewer
    has lost empty cells at its end, or a part of a text: it is read if it has the columns asked for.

    Args:
      reading: of the file.
      kind: ``.tsv`` or ``.csv``.
      fields: columns, by the names of the header, or by numbers from 0 of a file that has no header.

    Raises:
      DataError: if there is no such column, or most rows have to be dropped.
    """
    rows = _rows(reading, kind)
    first = next(rows, None)
    if first is None:
        return
    line, header = first
    named = not all(field.isdecimal() for field in fields)
    columns = _named_columns(line, header, fields) if named else [int(field) for field in fields]
    if max(columns) >= len(header):
        raise DataError(
            f"{line.place} has {len(header)} columns, column {max(columns)} (from 0) is asked for; choose "
            f"another column, or separate them by {SEPARATORS[kind]!r}"
        )
    kept = dropped = 0
    first_dropped = ""
    for line, cells in rows if named else itertools.chain([first], rows):
        if named and cells == header:
            reading.lose(Loss.REPEATED_HEADER, line.place)
        elif len(cells) > len(header) or len(cells) <= max(columns):
            dropped += 1
            first_dropped = first_dropped or line.place
            reading.lose(Loss.COLUMNS, line.place)
        else:
            kept += 1
            if len(cells) < len(header):
                reading.lose(Loss.NARROW, line.place)
            yield [cells[column] for column in columns]
    if dropped > kept:
        raise DataError(
            f"{first_dropped} and {dropped:,} of {kept + dropped:,} rows in all have more than the "
            f"{len(header)} columns of the first one, or not those asked for; give each row as many: texts "
            "that hold the separator or a line end must stand in quotes"
        )


def _named_columns(line: Line, header: list[str], fields: Sequence[str]) -> list[int]:
    columns = []
    for field in fields:
        if header.count(field) > 1:
            raise DataError(
                f"{line.place} has {header.count(field)} columns {field!r} in its header; rename all but one"
            )
        if field in header:
            columns.append(header.index(field))
        elif field.isdecimal():
            columns.append(int(field))
        else:
            raise DataError(
                f"{line.place} has no column {field!r} in its header ({', '.join(map(repr, header[:8]))}); "
                "name one of them, or give a number (from 0) if the file has no header"
            )
    return columns


def _rows(reading: FileReading, kind: str) -> Iterator[tuple[Line, list[str]]]:
    separator = SEPARATORS[kind]
    lines = lines_of(reading)
    if kind == ".tsv":
        head = list(itertools.islice(lines, _HEAD_LINES))
        lines = itertools.chain(head, lines)
        if not _quotes_are_syntax(head, separator):
            for line in lines:
                if line.text.strip():
                    yield line, line.text.split(separator)
            return
    for line, cells in _quoted_rows(lines, separator):
        if cells is None:
            reading.lose(Loss.QUOTES, line.place)
        else:
            yield line, [cell.text for cell in cells]


class _Cell:
    """A cell, and whether it stood in quotes."""

    __slots__ = ("quoted", "text")

    def __init__(self, text: str, quoted: bool = False):
        self.text, self.quoted = text, quoted


class _MisplacedQuoteError(Exception):
    """Quotes that do not end where the cell does."""


def _quoted_rows(lines: Iterable[Line], separator: str) -> Iterator[tuple[Line, list[_Cell] | None]]:
    """Yield the line that each row begins with, and its cells: None where a quote is out of place.

    Of such a row only the first line is lost: the next one begins a row again.
    """
    source, again = iter(lines), deque[Line]()

    def following() -> Iterator[Line]:
        while line := again.popleft() if again else next(source, None):
            yield line

    for line in following():
        if not line.text.strip():
            continue
        if '"' not in line.text:
            yield line, [_Cell(text) for text in line.text.split(separator)]
            continue
        ahead: list[Line] = []
        try:
            yield line, _cells(line, following(), ahead, separator)
        except _MisplacedQuoteError:
            again.extendleft(reversed(ahead))
            yield line, None


def _cells(line: Line, following: Iterator[Line], ahead: list[Line], separator: str) -> list[_Cell]:
    """Return the cells of the row that begins with ``line``; the other lines it takes go to ``ahead``."""
    cells: list[_Cell] = []
    text, position = line.text, 0
    while True:
        if text.startswith('"', position):
            parts, size, position = [], 0, position + 1
            while True:
                end = _INSIDE.match(text, position).end()  # pyright: ignore[reportOptionalMemberAccess]
                parts.append(text[position:end])
                size += end - position
                if end < len(text):
                    break
                if size > MAX_DOCUMENT_BYTES:
                    raise DataError(
                        f"{line.place} opens a quote that does not close within "
                        f"{MAX_DOCUMENT_BYTES >> 20} MiB; mend the line"
                    )
                if (further := next(following, None)) is None:
                    raise _MisplacedQuoteError
                ahead.append(further)
                text, position = further.text, 0
            position = end + 1
            if position < len(text) and text[position] != separator:
                raise _MisplacedQuoteError
            cells.append(_Cell("\n".join(parts).replace('""', '"'), quoted=True))
        else:
            end = text.find(separator, position)
            end = len(text) if end < 0 else end
            cells.append(_Cell(text[position:end]))
            position = end
        if position == len(text):
            return cells
        position += 1


def _quotes_are_syntax(head: list[Line], separator: str) -> bool:
    """Return whether the quotes of these lines keep the rules of RFC 4180 more often than they break them.

    Where all lines have as many columns without regard to quotes, a cell that goes on over lines is speech
    that goes on over rows.
    """
    kept = broken = 0
    widths = {line.text.count(separator) for line in head if line.text.strip()}
    quoted, bare = Counter[int](), Counter[int]()  # by column: in quotes without need, and without quotes
    for _, cells in _quoted_rows(head, separator):
        if cells is None:
            broken += 1
            continue
        for column, cell in enumerate(cells):
            if not cell.quoted:
                bare[column] += not _NUMBER.fullmatch(cell.text)
            elif separator in cell.text or "\n" in cell.text:
                kept += len(widths) > 1
            elif '"' in cell.text:
                kept += 1
            else:
                quoted[column] += 1
    for column, count in quoted.items():
        if count > bare[column]:
            kept += count
        else:
            broken += count
    return kept > broken

"""Rows of TSV and CSV files, as RFC 4180 has them or nearly so, and of TSV files that know no quotes.

A cell in quotes may hold the separator, line ends (which become newlines) and, doubled, quotes. CSV is always
read so. Of TSV there are both kinds, and only the file can tell them apart: in one that a spreadsheet or a
data frame wrote, quotes stand around a cell because it needs them, or around all cells of a column; in plain
text, around some sentences. Some programs put a backslash before quotes instead of doubling them (MySQL,
Spark, pandas with an escapechar), or a space before a cell: a file is read so if that makes much more sense
of it.
"""

import itertools
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from t5lite.core.errors import DataError, question
from t5lite.data.reading.lines import MAX_DOCUMENT_BYTES, Line, lines_of
from t5lite.data.reading.record_texts import FileReading
from t5lite.data.reading.tally import Loss

SEPARATORS = {".tsv": "\t", ".csv": ","}
_NAMES = {"\t": "a tab", ",": "','", ";": "';'", "|": "'|'"}
_INSIDE = re.compile(r'(?:[^"]++|"")*+')
_INSIDE_ESCAPED = re.compile(r'(?:[^"\\]++|""|\\.?)*+')
_ESCAPED = re.compile(r'\\(["\\\n])|"(")')
_SPACES = re.compile(" *")
_EXCEL_SEPARATOR = re.compile("sep=(.)", re.IGNORECASE)
_QUOTES_AFTER_SPACE = re.compile(r' +".*"\s*')
_NUMBER = re.compile(r"\s*[-+]?[\d.,]*(?:[eE][-+]?\d+)?\s*")
_HEAD_LINES = 1000
"""By these it is decided what the quotes of a file mean, and whether its first row may be a header."""
_SHOWN_CHARACTERS = 40
_ROWS_PER_CLASS = 4


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
    if header is None:
        raise _other_separator(line, kind) or DataError(
            f"{line.place}, the first row, has a quote out of place; {Loss.QUOTES.remedy}"
        )
    named = not all(field.isdecimal() for field in fields)
    fields = [field for field in fields if field in header or field not in reading.optional]
    columns = _columns(line, header, fields, kind, named=named, other_names=reading.other_names)
    if not named:
        head = list(itertools.islice(rows, _HEAD_LINES))
        rows = itertools.chain([first], head, rows)
        if _may_be_a_header(header, (cells for _, cells in head), columns):
            shown = ", ".join(repr(header[column][:_SHOWN_CHARACTERS]) for column in columns)
            reading.lose(Loss.FIRST_ROW, f"{line.place}, {shown}")
    names = header if named else [str(number) for number in range(len(header))]
    kept = dropped = 0
    first_dropped = ""
    for line, cells in rows:
        if cells is None or len(cells) > len(header) or len(cells) <= max(columns):
            dropped += 1
            first_dropped = first_dropped or line.place
            reading.lose(Loss.QUOTES if cells is None else Loss.COLUMNS, line.place)
        elif named and cells == header:
            reading.lose(Loss.REPEATED_HEADER, line.place)
        else:
            kept += 1
            if len(cells) < len(header):
                reading.lose(Loss.NARROW, line.place)
            texts = reading.row_texts(
                fields,
                [cells[column] for column in columns],
                line.place,
                record=dict(zip(names, cells, strict=False)),
            )
            if texts is not None:
                yield texts
    if dropped > kept:
        raise DataError(
            f"{first_dropped} and {dropped:,} of {kept + dropped:,} rows in all have more than the "
            f"{len(header)} columns of the first one, or not those asked for, or a quote out of place; give "
            f"each row as many, separated by {_NAMES[SEPARATORS[kind]]}: texts that hold the separator or a "
            "line end must stand in quotes, and quotes within them be doubled, not escaped by a backslash"
        )


def _columns(
    line: Line, header: list[str], fields: Sequence[str], kind: str, *, named: bool, other_names: str
) -> list[int]:
    """Return the columns that ``fields`` name or, unless ``named``, count."""
    if excel := _EXCEL_SEPARATOR.fullmatch(line.text):
        convert = "" if excel[1] == SEPARATORS[kind] else f", and {_converting(excel[1])}"
        raise DataError(f"{line.place} is {line.text!r}, which is for Excel, not a row; delete it{convert}")
    columns = []
    for field in fields:
        if named and header.count(field) > 1:
            raise DataError(
                f"{line.place} has {header.count(field)} columns {field!r} in its header; rename all but one"
            )
        if named and field in header:
            columns.append(header.index(field))
        elif field.isdecimal() and int(field) < len(header):
            columns.append(int(field))
        elif len(header) == 1 and (separated := _other_separator(line, kind)):
            raise separated
        elif field.isdecimal():
            raise DataError(
                f"{line.place} has {len(header)} columns, column {field} (from 0) is asked for; choose "
                f"another column, or separate them by {SEPARATORS[kind]!r}"
            )
        else:
            asked = f"{hint} " if (hint := question(field, header)) else ""
            raise DataError(
                f"{line.place} has no column {field!r} in its header ({', '.join(map(repr, header[:8]))}); "
                f"{asked}{other_names}, or give a number (from 0) if the file has no header"
            )
    return columns


def _other_separator(line: Line, kind: str) -> DataError | None:
    """Return the error for a first row that holds no separator of the file's type, but that of another."""
    found = [separator for separator in _NAMES if separator in line.text]
    if not found or SEPARATORS[kind] in found:
        return None
    return DataError(
        f"{line.place} seems to be separated by {_NAMES[found[0]]} ({line.text[:80]!r}), where a {kind} file "
        f"is by {_NAMES[SEPARATORS[kind]]}; if it is a text of one column, ask for column 0, else "
        f"{_converting(found[0])}"
    )


def _converting(separator: str) -> str:
    """Return what to do with a file that has this separator, not that of its type."""
    for kind, expected in SEPARATORS.items():
        if separator == expected:
            return f"name the file {kind}"
    return (
        'convert it: PYTHONIOENCODING=utf-8-sig python -c "import csv, sys; csv.writer(sys.stdout).writerows('
        f'csv.reader(sys.stdin, delimiter={separator!r}))" < OLD.csv > NEW.csv'
    )


def _may_be_a_header(
    first: Sequence[str], others: Iterable[Sequence[str] | None], columns: Sequence[int]
) -> bool:
    """Return whether the first row names its columns, as far as those asked for tell.

    As pandas numbers them; or by words that do not come again; or by one that is not among the classes.
    """
    names = [first[column] for column in columns]
    rest = [[row[column] for column in columns] for row in others if row and len(row) > max(columns)]
    if not rest or not all(names):
        return False
    if names == [str(column) for column in columns]:
        return True
    new = [(name, cells) for name, *cells in zip(names, *rest, strict=True) if name not in cells]
    words = len(new) == len(names) and not any(name.split()[1:] for name in names)
    return words or any(len(set(cells)) * _ROWS_PER_CLASS <= len(cells) for _, cells in new)


def _rows(reading: FileReading, kind: str) -> Iterator[tuple[Line, list[str] | None]]:
    """Yield the line that each row begins with, and its cells: None where a quote is out of place."""
    lines = lines_of(reading)
    head = list(itertools.islice(lines, _HEAD_LINES))
    lines = itertools.chain(head, lines)
    dialect = _dialect(head, SEPARATORS[kind])
    if kind == ".tsv" and not _quotes_are_syntax(head, dialect):
        for line in lines:
            if line.text.strip():
                yield line, line.text.split(dialect.separator)
        return
    for line, cells in _quoted_rows(lines, dialect):
        yield line, None if cells is None else [cell.text for cell in cells]


@dataclass(frozen=True)
class _Dialect:
    """How cells are written; as RFC 4180 has it, but for what is said here."""

    separator: str
    escapes: bool = False
    """A backslash stands before quotes, backslashes and line ends."""
    skips_spaces: bool = False
    """Those before a cell are not part of it."""

    def bare(self, text: str) -> str:
        """Return the text of a cell that is not in quotes."""
        return self._unescaped(text.lstrip(" ") if self.skips_spaces else text)

    def quoted(self, text: str) -> str:
        """Return the text of a cell from what stands between its quotes."""
        return self._unescaped(text) if self.escapes else text.replace('""', '"')

    def _unescaped(self, text: str) -> str:
        return _ESCAPED.sub(r"\1\2", text) if self.escapes else text


class _Cell:
    """A cell, and whether it stood in quotes."""

    __slots__ = ("quoted", "text")

    def __init__(self, text: str, quoted: bool = False):
        self.text, self.quoted = text, quoted


class _MisplacedQuoteError(Exception):
    """Quotes that do not end where the cell does."""


def _quoted_rows(lines: Iterable[Line], dialect: _Dialect) -> Iterator[tuple[Line, list[_Cell] | None]]:
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
            yield line, [_Cell(dialect.bare(text)) for text in line.text.split(dialect.separator)]
            continue
        ahead: list[Line] = []
        try:
            yield line, _cells(line, following(), ahead, dialect)
        except _MisplacedQuoteError:
            again.extendleft(reversed(ahead))
            yield line, None


def _cells(line: Line, following: Iterator[Line], ahead: list[Line], dialect: _Dialect) -> list[_Cell]:
    """Return the cells of the row that begins with ``line``; the other lines it takes go to ``ahead``."""
    cells: list[_Cell] = []
    text, position = line.text, 0
    inside = _INSIDE_ESCAPED if dialect.escapes else _INSIDE
    while True:
        if dialect.skips_spaces:
            position = _SPACES.match(text, position).end()  # pyright: ignore[reportOptionalMemberAccess]
        if text.startswith('"', position):
            parts, size, position = [], 0, position + 1
            while True:
                end = inside.match(text, position).end()  # pyright: ignore[reportOptionalMemberAccess]
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
            if position < len(text) and text[position] != dialect.separator:
                raise _MisplacedQuoteError
            cells.append(_Cell(dialect.quoted("\n".join(parts)), quoted=True))
        else:
            end = text.find(dialect.separator, position)
            end = len(text) if end < 0 else end
            cells.append(_Cell(dialect.bare(text[position:end])))
            position = end
        if position == len(text):
            return cells
        position += 1


def _dialect(head: list[Line], separator: str) -> _Dialect:
    """Return the dialect of these lines: another than RFC 4180's only if it loses less than half as many."""
    standard = _Dialect(separator)
    lost = _rows_lost(head, standard)
    if not lost:
        return standard
    others = [_Dialect(separator, *ways) for ways in ((True, False), (False, True), (True, True))]
    fewest, best = min(
        ((_rows_lost(head, dialect), dialect) for dialect in others), key=lambda result: result[0]
    )
    return best if 2 * fewest < lost else standard


def _rows_lost(head: list[Line], dialect: _Dialect) -> int:
    """Return how many rows do not fit the first one, or have quotes as no writer of the dialect has them."""
    rows = [cells for _, cells in _quoted_rows(head, dialect)]
    width = next((len(cells) for cells in rows if cells), 0)
    return sum(
        not cells
        or len(cells) > width
        or any(not cell.quoted and _QUOTES_AFTER_SPACE.fullmatch(cell.text) for cell in cells)
        for cells in rows
    )


def _quotes_are_syntax(head: list[Line], dialect: _Dialect) -> bool:
    """Return whether the quotes of these lines keep the rules of RFC 4180 more often than they break them.

    Where all lines have as many columns without regard to quotes, a cell that goes on over lines is speech
    that goes on over rows.
    """
    kept = broken = 0
    widths = {line.text.count(dialect.separator) for line in head if line.text.strip()}
    quoted, bare = Counter[int](), Counter[int]()  # by column: in quotes without need, and without quotes
    for _, cells in _quoted_rows(head, dialect):
        if cells is None:
            broken += 1
            continue
        for column, cell in enumerate(cells):
            if not cell.quoted:
                bare[column] += not _NUMBER.fullmatch(cell.text)
            elif dialect.separator in cell.text or "\n" in cell.text:
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

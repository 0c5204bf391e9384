"""Documents and pairs out of the user's files, streamed; every complaint names the file and the line.

``.txt``         a document is a paragraph (blank lines separate them), a line, or an even piece, by option
``.jsonl``       one JSON object a line; a field holds the text
``.tsv .csv``    one record a row; a column, by number (0 is the first, no header line) or by its header name

Rows are read by ``delimited``, the formats without lines by ``record_files``. What is dropped or changed is
counted in a ``Tally``.
"""

import codecs
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from t5lite.core.errors import DataError
from t5lite.data.reading.delimited import SEPARATORS, delimited_texts
from t5lite.data.reading.input_files import RECORD_FORMATS, Progress, input_format
from t5lite.data.reading.lines import MAX_DOCUMENT_BYTES, Line, check_is_text, lines_of, open_text
from t5lite.data.reading.record_files import read_records
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8
from t5lite.data.reading.tally import Tally, no_text

T = TypeVar("T")
TxtDocuments = Literal["paragraph", "line", "piece"]

PIECE_CHARACTERS = 1 << 14
"""Length of a document of ``txt_documents="piece"``: that of a long article."""


def read_texts(
    paths: Iterable[str | Path],
    *,
    field: str = "text",
    txt_documents: TxtDocuments = "paragraph",
    on_invalid_utf8: InvalidUtf8 = "error",
    progress: Progress | None = None,
    tally: Tally | None = None,
) -> Iterator[str]:
    """Yield the documents of all files in order.

    Args:
      paths: files of the types of ``input_files``, local or at addresses.
      field: the field or column that holds the text; unused for ``.txt``.
      txt_documents: what a document is in ``.txt`` files.
      on_invalid_utf8: refuse invalid bytes, or put U+FFFD in their place.
      progress: called with the bytes read.
      tally: counts what is dropped or changed, and lists the files that have no text.

    Raises:
      DataError: for a file that is missing, binary, damaged, of another type, or not as said above; and if
        there is no text in any.
    """
    tally = Tally() if tally is None else tally

    def documents(path: str | Path) -> Iterator[str]:
        reading = FileReading(path=path, on_invalid_utf8=on_invalid_utf8, progress=progress, tally=tally)
        return texts_of(reading, field=field, txt_documents=txt_documents)

    return read_files(documents, paths, tally)


def texts_of(reading: FileReading, *, field: str, txt_documents: TxtDocuments) -> Iterator[str]:
    """Yield the documents of one file, which may be none; arguments as ``read_texts``.

    Raises:
      DataError: as ``read_texts``.
    """
    kind = input_format(reading.path)
    if kind == ".txt":
        return _txt_documents(reading, txt_documents)
    return (texts[0] for texts in records_of(reading, (field,)))


def read_pairs(
    paths: Iterable[str | Path],
    *,
    inputs_field: str = "inputs",
    targets_field: str = "targets",
    on_invalid_utf8: InvalidUtf8 = "error",
    progress: Progress | None = None,
    tally: Tally | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (inputs, targets) of all files in order; targets that are integers or booleans become text.

    Raises:
      DataError: as ``read_texts``, and for ``.txt`` files, which have no fields.
    """
    tally = Tally() if tally is None else tally

    def pairs(path: str | Path) -> Iterator[tuple[str, str]]:
        reading = FileReading(
            path=path,
            on_invalid_utf8=on_invalid_utf8,
            progress=progress,
            tally=tally,
            label_fields=frozenset({targets_field} - {inputs_field}),
        )
        records = records_of(reading, (inputs_field, targets_field))
        return ((texts[0], texts[1]) for texts in records)

    return read_files(pairs, paths, tally)


def read_files(
    read: Callable[[str | Path], Iterator[T]], paths: Iterable[str | Path], tally: Tally
) -> Iterator[T]:
    """Yield what ``read`` does of each file, and list the files that have nothing.

    Raises:
      DataError: if no file has anything, and what ``read`` raises.
    """
    found = False
    for path in paths:
        tally.file = str(path)
        empty = True
        for item in read(path):
            empty = False
            yield item
        found |= not empty
        if empty:
            tally.empty_files.append(str(path))
    if not found:
        raise no_text(tally.empty_files, tally)


def _txt_documents(reading: FileReading, documents: TxtDocuments) -> Iterator[str]:
    if documents == "piece":
        return _pieces(reading)
    lines = lines_of(reading)
    return _paragraphs(lines) if documents == "paragraph" else _nonblank(lines)


def _pieces(reading: FileReading) -> Iterator[str]:
    """Cut a file at white space into documents of nearly ``PIECE_CHARACTERS``, whatever its lines."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")("surrogateescape"), translate=True
    )
    pending, number, block = "", 0, b"\n"
    with open_text(reading) as stream:
        while block:
            block = stream.read(1 << 16)
            if not number or b"\0" in block:
                check_is_text(block, str(reading.path))
            pending += decoder.decode(block, final=not block)
            while len(pending) > PIECE_CHARACTERS or (pending and not block):
                cut = max(pending.rfind(space, 0, PIECE_CHARACTERS) for space in " \n")
                cut = PIECE_CHARACTERS if cut <= 0 or len(pending) <= PIECE_CHARACTERS else cut
                if piece := pending[:cut].strip():
                    number += 1
                    content = piece.encode("utf-8", "surrogateescape")
                    yield reading.decoded(content, f"{reading.path} piece {number}")
                pending = pending[cut:]


def _paragraphs(lines: Iterator[Line]) -> Iterator[str]:
    paragraph: list[str] = []
    size = 0
    for line in lines:
        if line.text.strip():
            paragraph.append(line.text)
            size += len(line.text)
            if size > MAX_DOCUMENT_BYTES:
                raise DataError(
                    f"{line.place}: no blank line in the last {len(paragraph)} lines ({size >> 20} MiB); if "
                    "each line is a document, pass --txt-documents line"
                )
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph, size = [], 0
    if paragraph:
        yield "\n".join(paragraph)


def _nonblank(lines: Iterator[Line]) -> Iterator[str]:
    return (line.text for line in lines if line.text.strip())


def records_of(reading: FileReading, fields: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the texts of each record of one file that has fields.

    Raises:
      DataError: as ``read_pairs``.
    """
    kind = input_format(reading.path, RECORD_FORMATS)
    if kind in SEPARATORS:
        return delimited_texts(reading, kind, fields)
    if kind != ".jsonl":
        return read_records(reading, kind, fields)
    records = (
        reading.json_texts(line.text, fields, line.place) for line in lines_of(reading) if line.text.strip()
    )
    return reading.whole(records)

"""The texts that a command is given: as arguments, on standard input, or in a file; none is left out."""

import sys
from collections.abc import Sequence
from pathlib import Path

from t5lite.core.errors import DataError
from t5lite.data.reading.input_files import compression
from t5lite.data.reading.lines import Line, decode_lines, read_lines
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8
from t5lite.data.reading.tally import Loss, Tally, messages
from t5lite.data.reading.text_files import read_texts

_JSONL = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".array_record")
_LEFT_OUT = (Loss.NULL, Loss.MISSING, Loss.COLUMNS, Loss.QUOTES, Loss.REPEATED_HEADER)
"""What would set outputs against other inputs."""


def input_texts(
    texts: Sequence[str], input_file: str | None, *, field: str, on_invalid_utf8: InvalidUtf8
) -> list[str]:
    """Return the inputs of a command, in order; lines of a file may be empty.

    Args:
      texts: as arguments.
      input_file: lines, JSON lines or a table, by its ending; - for lines on standard input.
      field: that holds the text, or column of a table.
      on_invalid_utf8: refuse invalid bytes, or put U+FFFD in their place.

    Raises:
      DataError: if there are none, or both are given; if the file cannot be read, or a record has no text.
    """
    if bool(texts) == (input_file is not None):
        raise DataError("give the inputs by exactly one of --text and --input-file (- for standard input)")
    if input_file is None:
        return [_utf8(text, on_invalid_utf8) for text in texts]
    ending = _ending(Path(input_file))
    if ending in _TABLES:
        return _column(input_file, field, on_invalid_utf8)
    if input_file == "-":
        name = Path("standard input")
        lines = decode_lines(sys.stdin.buffer, name, on_invalid_utf8=on_invalid_utf8)
    else:
        name = input_file
        lines = read_lines(name, on_invalid_utf8=on_invalid_utf8)
    if ending in _JSONL:
        inputs = [_of_record(line, field, on_invalid_utf8) for line in lines if line.text.strip()]
    else:
        inputs = [line.text for line in lines]
    if not any(text.strip() for text in inputs):
        raise DataError(f"{name} holds no text; give one input a line")
    return inputs


def _column(file: str, field: str, on_invalid_utf8: InvalidUtf8) -> list[str]:
    tally = Tally()
    texts = list(read_texts([file], field=field, on_invalid_utf8=on_invalid_utf8, tally=tally))
    report = tally.report()
    for loss in _LEFT_OUT:
        if loss.label in report:
            (said,) = messages({loss.label: report[loss.label]})
            raise DataError(f"{file}: {said}; give every row a text in {field!r}, as each has its output")
    if not any(text.strip() for text in texts):
        raise DataError(f"{file} holds no text in {field!r}; name the column of the texts by --field")
    return texts


def _ending(path: Path) -> str:
    """Return what the name of the uncompressed file ends in."""
    return (path.with_suffix("") if compression(path) else path).suffix.lower()


def _of_record(line: Line, field: str, on_invalid_utf8: InvalidUtf8) -> str:
    reading = FileReading(path=line.path, on_invalid_utf8=on_invalid_utf8)
    texts = reading.json_texts(line.text, (field,), line.place)
    if texts is None:  # to leave it out would set outputs against other inputs
        reading.check_fields()
        raise DataError(f"{line.place} field {field!r} is null; give every record a text")
    return texts[0]


def _utf8(argument: str, on_invalid_utf8: InvalidUtf8) -> str:
    """Python keeps the bytes of an argument that is not UTF-8 as surrogates, which nothing can encode."""
    content = argument.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if on_invalid_utf8 == "replace":
            return content.decode("utf-8", "replace")
        raise DataError(
            f"--text {argument!r} is not valid UTF-8; convert it, or pass --on-invalid-utf8 replace"
        ) from error

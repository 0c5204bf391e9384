"""Documents and pairs out of the user's text files, streamed; every complaint names the file and the line.

``.txt``    a document is a paragraph (blank lines separate them), or a line, by option
``.jsonl``  one JSON object a line; a field holds the text
``.tsv``    one record a line; a column, by number (0 is the first, no header line) or by its header name

Each may also end in ``.gz``, ``.xz`` or ``.zst``.
"""

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar, cast

import zstandard

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.local_path import local_path

T = TypeVar("T")
InvalidUtf8 = Literal["error", "replace"]
TxtDocuments = Literal["paragraph", "line"]
Progress = Callable[[int], object]
"""Told how many bytes of the (compressed) file were read since the last call."""

FORMATS = (".txt", ".jsonl", ".tsv")
RECORD_FORMATS = (".jsonl", ".tsv")  # those whose records have fields
COMPRESSIONS = (".gz", ".xz", ".zst")
MAX_DOCUMENT_BYTES = 64 << 20


@dataclass(frozen=True)
class Line:
    """A decoded line, without its end, and where it stands."""

    path: Path
    number: int
    text: str

    @property
    def place(self) -> str:
        """``file:line`` for messages."""
        return f"{self.path}:{self.number}"


def read_texts(
    paths: Iterable[str | Path],
    *,
    field: str = "text",
    txt_documents: TxtDocuments = "paragraph",
    on_invalid_utf8: InvalidUtf8 = "error",
    progress: Progress | None = None,
) -> Iterator[str]:
    """Yield the documents of all files in order.

    Args:
      paths: files with the endings above.
      field: the JSON field or TSV column that holds the text; unused for ``.txt``.
      txt_documents: what a document is in ``.txt`` files.
      on_invalid_utf8: refuse invalid bytes, or put U+FFFD in their place.
      progress: called with the bytes read.

    Raises:
      DataError: for a file that is missing, empty, binary, damaged, of another type, or not as said above.
    """
    for path in map(Path, paths):
        lines = read_lines(path, on_invalid_utf8=on_invalid_utf8, progress=progress)
        kind = text_format(path)
        if kind == ".txt":
            documents = _paragraphs(lines) if txt_documents == "paragraph" else _nonblank(lines)
        else:
            documents = (texts[0] for texts in _records(lines, kind, (field,), on_invalid_utf8))
        yield from _not_empty(documents, path)


def read_pairs(
    paths: Iterable[str | Path],
    *,
    inputs_field: str = "inputs",
    targets_field: str = "targets",
    on_invalid_utf8: InvalidUtf8 = "error",
    progress: Progress | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (inputs, targets) of all ``.jsonl`` and ``.tsv`` files in order.

    Raises:
      DataError: as ``read_texts``, and for ``.txt`` files, which have no fields.
    """
    for path in map(Path, paths):
        kind = text_format(path, RECORD_FORMATS)
        lines = read_lines(path, on_invalid_utf8=on_invalid_utf8, progress=progress)
        records = _records(lines, kind, (inputs_field, targets_field), on_invalid_utf8)
        yield from _not_empty(((texts[0], texts[1]) for texts in records), path)


def check_files(paths: Iterable[str | Path], *, allowed: tuple[str, ...] = FORMATS) -> int:
    """Check that all files exist and have an allowed ending, before long work; return their size in bytes.

    Raises:
      ConfigError: if there are none.
      DataError: for the first file that will not do.
    """
    paths = [local_path(path) for path in paths]
    if not paths:
        raise ConfigError(
            f"no input files; give at least one ({', '.join(allowed)}, also {', '.join(COMPRESSIONS)})"
        )
    total = 0
    for path in paths:
        if not path.is_file():
            problem = (
                "is a directory; give the files in it" if path.is_dir() else "does not exist; check the path"
            )
            raise DataError(f"{path} {problem}")
        text_format(path, allowed)
        total += path.stat().st_size
    return total


def text_format(path: Path, allowed: tuple[str, ...] = FORMATS) -> str:
    """Return ``.txt``, ``.jsonl`` or ``.tsv``; ``DataError`` for what is not ``allowed``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in allowed:
        if suffixes[-1:] == [".txt"]:
            raise DataError(f"{path} has no fields to take pairs from; give {' or '.join(allowed)} files")
        raise DataError(
            f"{path} has an unknown type; allowed: {', '.join(allowed)}, each also with "
            f"{', '.join(COMPRESSIONS)}"
        )
    return suffixes[-1]


def read_lines(
    path: Path, *, on_invalid_utf8: InvalidUtf8 = "error", progress: Progress | None = None
) -> Iterator[Line]:
    """Yield the decoded lines of one (compressed) file; a byte-order mark is dropped."""
    try:
        with (
            closing(io.BufferedReader(_Metered(path, progress), 1 << 18)) as raw,
            closing(_decompressed(cast(BinaryIO, raw), path)) as stream,
        ):
            yield from decode_lines(stream, path, on_invalid_utf8=on_invalid_utf8)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{path} is damaged or not really {path.suffix} ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from error


def decode_lines(stream: BinaryIO, path: Path, *, on_invalid_utf8: InvalidUtf8 = "error") -> Iterator[Line]:
    """Yield the decoded lines of an open stream, such as standard input; ``path`` is for messages."""
    number = 0
    while content := stream.readline(MAX_DOCUMENT_BYTES):
        number += 1
        yield Line(path, number, _decode(content, path, number, on_invalid_utf8))


class _Metered(io.FileIO):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, progress: Progress | None):
        super().__init__(path)
        self._progress = progress

    def readinto(self, buffer) -> int | None:
        count = super().readinto(buffer)
        if self._progress is not None:
            self._progress(count or 0)
        return count


class _ZstdFile(io.RawIOBase):
    """Decompresses frames one after the other; unlike zstandard's own reader it notices a truncated one."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._frame, self._output = stream, None, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._output:
            compressed = b"" if self._frame is None else self._frame.unused_data
            if self._frame is None or self._frame.eof:
                self._frame = None
            compressed = compressed or self._stream.read(1 << 16)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the compressed data ends early")
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._output = memoryview(self._frame.decompress(compressed))
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count


def _decompressed(buffered: BinaryIO, path: Path) -> BinaryIO:
    match path.suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(buffered))
        case ".zst":
            return cast(BinaryIO, io.BufferedReader(_ZstdFile(buffered), 1 << 18))
        case _:
            return buffered


def _decode(content: bytes, path: Path, number: int, on_invalid_utf8: InvalidUtf8) -> str:
    if len(content) >= MAX_DOCUMENT_BYTES:
        raise DataError(
            f"{path}:{number} is a line of more than {MAX_DOCUMENT_BYTES >> 20} MiB; split it into documents"
        )
    if b"\0" in content:
        raise DataError(
            f"{path}:{number} contains a NUL byte, so it is binary (or UTF-16); convert it to UTF-8 text"
        )
    content = content.rstrip(b"\r\n")
    if number == 1:
        content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if on_invalid_utf8 == "replace":
            return content.decode("utf-8", errors="replace")
        raise DataError(
            f"{path}:{number} is not valid UTF-8 ({content[error.start]:#04x} is byte {error.start + 1}); "
            "convert the file, or pass --on-invalid-utf8 replace"
        ) from error


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


def _records(
    lines: Iterator[Line], kind: str, fields: tuple[str, ...], on_invalid_utf8: InvalidUtf8
) -> Iterator[list[str]]:
    if kind == ".jsonl":
        return (_json_fields(line, fields, on_invalid_utf8) for line in lines if line.text.strip())
    return _tsv_fields(lines, fields)


def _json_fields(line: Line, fields: tuple[str, ...], on_invalid_utf8: InvalidUtf8) -> list[str]:
    try:
        record = json.loads(line.text)
    except ValueError as error:
        raise DataError(
            f"{line.place} is not valid JSON ({error}); each line must be one JSON object"
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{line.place} is a JSON {type(record).__name__}; each line must be one JSON object")
    texts = []
    for field in fields:
        if field not in record:
            raise DataError(
                f"{line.place} has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}: name "
                "one of them"
            )
        if not isinstance(record[field], str):
            raise DataError(
                f"{line.place} field {field!r} is a {type(record[field]).__name__}, not a string; convert it"
            )
        texts.append(_without_surrogates(record[field], line, on_invalid_utf8))
    return texts


def _without_surrogates(text: str, line: Line, on_invalid_utf8: InvalidUtf8) -> str:
    """JSON can escape half of a surrogate pair, which is no character and cannot be encoded."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        if on_invalid_utf8 == "replace":
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        raise DataError(
            f"{line.place} escapes a lone surrogate (\\u{ord(text[error.start]):04x}); mend the line, "
            "or pass --on-invalid-utf8 replace"
        ) from error
    return text


def _tsv_fields(lines: Iterator[Line], fields: tuple[str, ...]) -> Iterator[list[str]]:
    named = [field for field in fields if not field.isdecimal()]
    columns = None if named else [int(field) for field in fields]
    for line in lines:
        cells = line.text.split("\t")
        if columns is None:
            columns = _columns(line, cells, fields)
            continue
        if not line.text.strip():
            continue
        if max(columns) >= len(cells):
            raise DataError(
                f"{line.place} has {len(cells)} columns, column {max(columns)} (from 0) is asked for; "
                "mend the line or choose another column"
            )
        yield [cells[column] for column in columns]


def _columns(header: Line, cells: list[str], fields: tuple[str, ...]) -> list[int]:
    columns = []
    for field in fields:
        if field in cells:
            columns.append(cells.index(field))
        elif field.isdecimal():
            columns.append(int(field))
        else:
            raise DataError(
                f"{header.place} has no column {field!r} in its header ({', '.join(map(repr, cells[:8]))}); "
                "name one of them, or give a number (from 0) if the file has no header"
            )
    return columns


def _not_empty(documents: Iterable[T], path: Path) -> Iterator[T]:
    empty = True
    for document in documents:
        empty = False
        yield document
    if empty:
        raise DataError(f"{path} contains no text; remove it from the inputs or check how it was made")

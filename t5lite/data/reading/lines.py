r"""Decoded lines of (compressed) files. A line ends with ``\n``, ``\r\n`` or ``\r``, in any mixture.

Nothing else ends one: U+2028, U+0085 and the like are characters of the text.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from t5lite.core.errors import DataError
from t5lite.core.lfs import check_content_is_no_lfs_pointer
from t5lite.data.reading.input_files import compression, open_input, unreadable
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8

MAX_DOCUMENT_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True)
class Line:
    """A decoded line, without its end, and where it stands."""

    path: str | Path
    number: int
    text: str

    @property
    def place(self) -> str:
        """``file:line`` for messages."""
        return f"{self.path}:{self.number}"


def read_lines(path: str | Path, *, on_invalid_utf8: InvalidUtf8 = "error") -> Iterator[Line]:
    """Yield the decoded lines of one (compressed) file; byte-order marks are dropped."""
    return lines_of(FileReading(path=path, on_invalid_utf8=on_invalid_utf8))


def decode_lines(
    stream: BinaryIO, path: str | Path, *, on_invalid_utf8: InvalidUtf8 = "error"
) -> Iterator[Line]:
    """Yield the decoded lines of an open stream, such as standard input; ``path`` is for messages."""
    return _decode(stream, FileReading(path=path, on_invalid_utf8=on_invalid_utf8))


def lines_of(reading: FileReading) -> Iterator[Line]:
    """Yield the decoded lines of the file that is read; byte-order marks are dropped."""
    with open_text(reading) as stream:
        yield from _decode(stream, reading)


@contextmanager
def open_text(reading: FileReading) -> Iterator[BinaryIO]:
    """Open a (compressed) file and decompress it; what goes wrong within the block becomes a DataError."""
    path = reading.path
    try:
        with (
            closing(open_input(path, reading.progress)) as raw,
            closing(_decompressed(raw, compression(path))) as stream,
        ):
            yield stream
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(
            f"{path} is damaged or not really {compression(path)} ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def check_is_text(content: bytes, place: str) -> None:
    """Refuse what is binary, or Unicode in another encoding than UTF-8, by its name.

    Raises:
      DataError: if ``content``, the beginning of a file, cannot be text in UTF-8.
      UserError: for a Git LFS pointer.
    """
    for mark, encoding in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(
                f"{place} is {encoding}, by its byte-order mark; convert the file to UTF-8 (iconv -f "
                f"{encoding} -t UTF-8)"
            )
    check_content_is_no_lfs_pointer(content, place)
    if b"\0" in content:
        raise DataError(f"{place} contains a NUL byte, so it is binary (or UTF-16); convert it to UTF-8 text")


def _decode(stream: BinaryIO, reading: FileReading) -> Iterator[Line]:
    path = reading.path
    for number, content in enumerate(_byte_lines(stream), 1):
        if len(content) >= MAX_DOCUMENT_BYTES:
            remedy = "split it into documents"
            if ".txt" in Path(path).suffixes:
                remedy += ", or pass --txt-documents piece to cut the text at white space"
            raise DataError(
                f"{path}:{number} is a line of more than {MAX_DOCUMENT_BYTES >> 20} MiB; {remedy}"
            )
        if number == 1 or b"\0" in content:
            check_is_text(content, f"{path}:{number}")
        # Of files put behind each other, each may have begun with a mark.
        content = content.removeprefix(_BYTE_ORDER_MARK)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = reading.decoded(content, f"{path}:{number}")
        yield Line(path, number, text)


def _byte_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines without their ends; of one that is too long, the first ``MAX_DOCUMENT_BYTES`` or more."""
    begun: list[bytes] = []
    size = 0
    held_back = b""
    while block := stream.read(_BLOCK_BYTES):
        block = held_back + block
        held_back = b"\r" if block.endswith(b"\r") else b""  # the next block may begin with its \n
        block = block.removesuffix(held_back)
        lines = block.splitlines()
        last = b"" if block.endswith((b"\n", b"\r")) or not lines else lines.pop()
        if lines and begun:
            lines[0] = b"".join([*begun, lines[0]])
            begun, size = [], 0
        yield from lines
        if last:
            begun.append(last)
            size += len(last)
            if size >= MAX_DOCUMENT_BYTES:
                yield b"".join(begun)
                begun, size = [], 0
    if begun or held_back:
        yield b"".join(begun)


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


def _decompressed(stream: io.BufferedReader, ending: str) -> BinaryIO:
    if not stream.peek(1):  # an empty shard is empty, compressed or not
        return stream
    match ending:
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(stream))
        case ".zst":
            return cast(BinaryIO, io.BufferedReader(_ZstdFile(stream), 1 << 18))
        case _:
            return stream

"""Documents out of raw files: those that ``t5lite prepare text`` reads, and web archives (WARC, WET)."""

import html.parser
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.reading.input_files import FORMATS, WEB_ARCHIVE, input_format, open_input, unreadable
from t5lite.data.reading.record_texts import FileReading
from t5lite.data.reading.text_files import TxtDocuments, texts_of

ALLOWED = (*FORMATS, WEB_ARCHIVE)
_BLOCKS = re.compile(
    "address|article|aside|blockquote|br|dd|div|dl|dt|figcaption|footer|form|h[1-6]|header|hr|li|main|nav|ol|p|"
    "pre|section|table|td|th|tr|ul"
)
_HIDDEN = re.compile("script|style|noscript|template|svg|math|head")


def read_documents(
    reading: FileReading, *, field: str = "text", txt_documents: TxtDocuments = "paragraph"
) -> Iterator[str]:
    """Yield the documents of one file, streamed; arguments as ``text_files.texts_of``.

    A web archive gives the text of each ``conversion`` record (WET), and of each HTML ``response`` (WARC)
    what stands in its body's blocks, one a line. Bytes that do not decode are replaced there.

    Raises:
      DataError: if the file cannot be read.
    """
    if input_format(reading.path, ALLOWED) == WEB_ARCHIVE:
        return _archive(replace(reading, on_invalid_utf8="replace"))
    return texts_of(reading, field=field, txt_documents=txt_documents)


def html_text(page: str) -> str:
    """Return the text of an HTML page, a block a line, without scripts, styles and the head."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _archive(reading: FileReading) -> Iterator[str]:
    path = reading.path
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ImportError as error:
        raise ConfigError(f"{path} needs warcio; pip install 't5lite[data]'") from error
    try:
        with closing(open_input(path)) as stream:
            for number, record in enumerate(ArchiveIterator(stream), 1):
                text = _record_text(record, reading, f"{path} record {number}")
                if text.strip():
                    yield text
    except ArchiveLoadFailed as error:
        raise DataError(f"{path} is damaged or no WARC file ({error}); fetch it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _record_text(record: Any, reading: FileReading, place: str) -> str:
    if record.rec_type == "conversion":
        return reading.decoded(record.content_stream().read(), place)
    if record.rec_type == "response" and record.http_headers is not None:
        kind = record.http_headers.get_header("Content-Type", "") or ""
        if "html" in kind:
            charset = kind.partition("charset=")[2].split(";")[0].strip(" \"'") or "utf-8"
            content = record.content_stream().read()
            try:
                return html_text(content.decode(charset, "replace"))
            except LookupError:  # no such encoding
                return html_text(reading.decoded(content, place))
    return ""


class _Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._hidden = (
            0 if tag == "body" else self._hidden + bool(_HIDDEN.fullmatch(tag))
        )  # </head> may be left out
        if _BLOCKS.fullmatch(tag):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if _HIDDEN.fullmatch(tag):
            self._hidden = max(self._hidden - 1, 0)
        if _BLOCKS.fullmatch(tag):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data.replace("\n", " "))

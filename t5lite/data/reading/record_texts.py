"""The texts of one record's fields, checked; messages name the record and say what it has instead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from t5lite.core.errors import DataError
from t5lite.core.json_text import parse_json
from t5lite.data.reading.input_files import Progress
from t5lite.data.reading.tally import Loss, Tally

InvalidUtf8 = Literal["error", "replace"]


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """The reading of one file: what its readers are told, and where they count what they lose."""

    path: str | Path
    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid bytes, or put U+FFFD in their place."""
    progress: Progress | None = None
    """Called with the bytes read."""
    tally: Tally = field(default_factory=Tally)

    def lose(self, loss: Loss, place: str) -> None:
        """Count a record of this file."""
        self.tally.count(loss, self.path, place)

    def json_texts(self, content: str | bytes, fields: Iterable[str], place: str) -> list[str] | None:
        """Return the texts of ``fields`` of a JSON object; None, and counted, if one of them is null.

        Raises:
          DataError: if ``content`` is none, lacks a field, or has something else than text in it.
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
        """Return the texts of ``fields``, bytes decoded; None, and counted, if one of them is null.

        Raises:
          DataError: if there is no such field, or it holds something else than text.
        """
        texts = [self._text(record, field, place) for field in fields]
        known = [text for text in texts if text is not None]
        if len(known) == len(texts):
            return known
        self.lose(Loss.NULL, place)
        return None

    def _text(self, record: Mapping[str, Any], field: str, place: str) -> str | None:
        if field not in record:
            raise DataError(
                f"{place} has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}: name one "
                "of them"
            )
        value = record[field]
        if value is None:
            return None
        if isinstance(value, bytes):
            return self.decoded(value, place, f"{place} field {field!r}")
        if not isinstance(value, str):
            raise DataError(f"{place} field {field!r} is a {type(value).__name__}, not a string; convert it")
        return self._without_surrogates(value, place)

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

    def _without_surrogates(self, text: str, place: str) -> str:
        """JSON can escape half of a surrogate pair, which is no character and cannot be encoded."""
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

"""Bytes as tokens: ByT5's vocabulary (Xue et al. 2022), which needs no training and covers every text."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.vocabulary.base import (
    Vocabulary,
    VocabularyKind,
    check_extra_ids,
    sentinels_from_the_top,
)

_NUM_SPECIAL = 3
_NUM_BYTES = 256
_FIRST_BITS, _CONTINUATION = 0xC0, 0x80
"""Bits of UTF-8 by which a byte goes on with the character of the one before it."""
DEFAULT_EXTRA_IDS = 125


class ByteVocabulary(Vocabulary):
    """Byte ``b`` of the UTF-8 text is id ``b + 3``, after pad 0, EOS 1 and UNK 2; sentinels are at the top.

    With the default of 125 sentinels ``size`` is 384, the rows of ByT5's table. Sentinels descend from the
    top as in seqio's ``ByteVocabulary(extra_ids=125)``. Two others number them differently:

    * transformers' ``ByT5Tokenizer`` ascends by default: its ``<extra_id_0>`` is 259, here 383. Folders that
      t5lite exports tell it to use the ids here, and what is read from a folder that lists the others has
      those (``ascending``).
    * The published ByT5 weights were trained without extra ids: their span ``i`` is id ``258 - i``, the rows
      of bytes 0xFF, 0xFE, …, most of which no UTF-8 text contains. The 125 rows above were never trained.

    No white space is stripped around sentinels, for it is text like any other. Decoding leaves out bytes that
    are not UTF-8, as both of the above do.

    Args:
      path: the marker file that a store or run keeps, or ``bytes``.
      extra_ids: number of sentinels; None takes the marker's, or 125.
      ascending: whether ``<extra_id_0>`` is the lowest of them; None takes what the marker says, else not.

    Raises:
      DataError: if the marker file cannot be read.
    """

    kind: ClassVar[VocabularyKind] = "bytes"
    FILE: ClassVar[str] = "bytes.json"
    NAME: ClassVar[str] = "bytes"
    """What to say instead of a path."""

    def __init__(
        self,
        path: str | os.PathLike[str] = NAME,
        extra_ids: int | None = None,
        *,
        ascending: bool | None = None,
    ):
        self.path = place(path)
        marker: dict[str, Any] = {"extra_ids": DEFAULT_EXTRA_IDS}
        if str(path) != self.NAME:
            marker = _read_marker(self.path)
        if extra_ids is None:
            extra_ids = int(marker["extra_ids"])
        ascending = marker.get("ascending", False) if ascending is None else ascending
        check_extra_ids(extra_ids)
        self.size = _NUM_SPECIAL + _NUM_BYTES + extra_ids
        self.sentinel_ids = sentinels_from_the_top(self.size, extra_ids)[:: -1 if ascending else 1]
        self.pad_id, self.eos_id, self.unk_id = PAD_ID, EOS_ID, 2
        order = " ascending" if ascending else ""
        self.fingerprint = hashlib.sha256(f"bytes extra_ids={extra_ids}{order}".encode()).hexdigest()
        described = {"kind": self.kind, "extra_ids": extra_ids, **({"ascending": True} if ascending else {})}
        self.files = {self.FILE: (json.dumps(described) + "\n").encode()}
        self._ascending = ascending

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ByteVocabulary, ascending=self._ascending), (self.path, self.extra_ids)

    def has_added(self, name: str, token: int, *, special: bool) -> bool:
        """Whether a token that was added to a tokenizer is one here too; pad, EOS and UNK have any name."""
        del special
        return token < _NUM_SPECIAL or self.has_sentinel(name, token)

    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the ids of the text's bytes; half a surrogate pair, which has no bytes, becomes ``?``."""
        if not parse_sentinels:
            return _byte_ids(text)
        (first, *others), sentinels = self.around_sentinels(text)
        parts = [_byte_ids(first)]
        for sentinel, following in zip(sentinels, others, strict=True):
            parts += [np.array([sentinel], np.int32), _byte_ids(following)]
        return np.concatenate(parts)

    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Return the ids of each text; there is too little to do for threads."""
        del num_threads
        return [_byte_ids(text) for text in texts]

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of the text's bytes, and of which character each is."""
        ids = _byte_ids(text)
        is_first = (ids - _NUM_SPECIAL) & _FIRST_BITS != _CONTINUATION
        return ids, np.cumsum(is_first) - 1

    def num_bytes(self, ids: Iterable[int] | np.ndarray, *, goes_on: bool = False) -> int:
        """Return how many ids are bytes, which need not be whole characters."""
        del goes_on
        return sum(_NUM_SPECIAL <= token < _NUM_SPECIAL + _NUM_BYTES for token in ids)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``: pad and EOS are dropped, unknown ids become U+FFFD."""
        numbers = {token: number for number, token in enumerate(self.sentinel_ids.tolist())}
        content = bytearray()
        for token in map(int, ids):
            if _NUM_SPECIAL <= token < _NUM_SPECIAL + _NUM_BYTES:
                content.append(token - _NUM_SPECIAL)
            elif _NUM_SPECIAL + _NUM_BYTES <= token < self.size:
                content += f"<extra_id_{numbers[token]}>".encode()
            elif token not in (self.pad_id, self.eos_id):
                content += "\N{REPLACEMENT CHARACTER}".encode()
        return content.decode("utf-8", errors="ignore")

    def _continuations(self) -> list[bool]:
        # Bytes above ASCII are parts of letters, as a rule.
        return [False] * _NUM_SPECIAL + [byte >= 0x80 or chr(byte).isalnum() for byte in range(_NUM_BYTES)]


def _byte_ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8", errors="replace"), np.uint8).astype(np.int32) + _NUM_SPECIAL


def _read_marker(path: StoragePath) -> dict[str, Any]:
    try:
        marker = load_json(path)
        if marker["kind"] != ByteVocabulary.kind or not isinstance(marker["extra_ids"], int):
            raise ValueError(f"contents {marker}")
    except OSError as error:
        raise DataError(f"cannot read the vocabulary {path} ({error.strerror}); give `bytes`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not describe a byte vocabulary ({error!r}); give `bytes`") from error
    return marker

"""SentencePiece vocabularies with T5's conventions: pad 0, EOS 1, sentinels at the top."""

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import sentencepiece

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.local_path import local_path
from t5lite.data.vocabulary.base import Vocabulary, VocabularyKind, check_extra_ids, lengths

_SENTINEL = re.compile(r"\s*<extra_id_(\d+)>\s*")
DEFAULT_EXTRA_IDS = 100


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model plus ``extra_ids`` sentinels that follow its pieces.

    Ids ``[0, num_pieces)`` are the model's pieces, those above are sentinels. mT5's model has its sentinels
    among its own pieces, the last ones; they are recognised by their names, and none are added. Ids beyond
    ``size`` decode as unknown.

    Attributes:
      num_pieces: number of SentencePiece pieces that are no sentinels.
      model_bytes: the model file's content.

    Args:
      path: the ``.model`` file.
      extra_ids: number of sentinels; None takes those of the model, or 100 if it has none.

    Raises:
      DataError: if the file is missing, is not a SentencePiece model, or has other pad and EOS ids than T5's.
      ConfigError: if ``extra_ids`` contradicts the model's own sentinels.
    """

    kind: ClassVar[VocabularyKind] = "sentencepiece"
    FILE: ClassVar[str] = "spiece.model"

    def __init__(self, path: str | Path, extra_ids: int | None = None):
        if extra_ids is not None:
            check_extra_ids(extra_ids)
        self.path = local_path(path)
        try:
            self.model_bytes = self.path.read_bytes()
        except OSError as error:
            raise DataError(
                f"cannot read the vocabulary {path} ({error.strerror}); give the path of a SentencePiece "
                "model (spiece.model)"
            ) from error
        # The stubs of sentencepiece know neither the keyword arguments nor the overloads used here.
        self._processor: Any = cast(Any, sentencepiece.SentencePieceProcessor)()
        try:
            self._processor.LoadFromSerializedProto(self.model_bytes)
        except RuntimeError as error:
            raise DataError(f"{path} is not a SentencePiece model; give a spiece.model file") from error
        self._set_special_ids()
        self._set_sizes(extra_ids)
        self.files = {self.FILE: self.model_bytes}
        digest = hashlib.sha256(self.model_bytes)
        digest.update(f"extra_ids={self.extra_ids}".encode())
        self.fingerprint = digest.hexdigest()

    def _set_special_ids(self) -> None:
        self.pad_id, self.eos_id = PAD_ID, EOS_ID
        self.unk_id = self._processor.unk_id()
        self.bos_id = None if self._processor.bos_id() < 0 else self._processor.bos_id()
        found = (self._processor.pad_id(), self._processor.eos_id())
        if found != (PAD_ID, EOS_ID):
            raise DataError(
                f"{self.path} has pad, EOS ids {found}, T5 needs (0, 1); retrain it with "
                "pad_id=0, eos_id=1, unk_id=2, bos_id=-1 (`t5lite prepare` does)"
            )

    def _set_sizes(self, extra_ids: int | None) -> None:
        total: int = self._processor.get_piece_size()
        own = 0
        while self._processor.id_to_piece(total - 1 - own).lstrip("▁") == f"<extra_id_{own}>":
            own += 1
        if own and extra_ids not in (None, 0, own):
            raise ConfigError(
                f"extra_ids={extra_ids}, but {self.path} has {own} sentinels among its pieces; use "
                f"extra_ids={own}"
            )
        self.extra_ids = own or (DEFAULT_EXTRA_IDS if extra_ids is None else extra_ids)
        self.num_pieces: int = total - own
        self.size = self.num_pieces + self.extra_ids

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceVocabulary, (self.path, self.extra_ids)

    @property
    def has_own_sentinels(self) -> bool:
        """Whether the sentinels are pieces of the model instead of ids added to it."""
        return self.extra_ids > 0 and self._processor.get_piece_size() == self.size

    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the ids of ``text``; white space around a parsed sentinel is not text."""
        if not parse_sentinels:
            return np.asarray(self._processor.encode(text), np.int32)
        pieces = _SENTINEL.split(text)  # text, number, text, number, …, text
        ids = list(self._processor.encode(pieces[0]))
        for number, following in zip(pieces[1::2], pieces[2::2], strict=True):
            ids.append(self.sentinel(int(number)))
            ids.extend(self._processor.encode(following))
        return np.asarray(ids, np.int32)

    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Return the ids of each text, encoded on ``num_threads`` threads (None: all cores)."""
        return [np.asarray(ids, np.int32) for ids in self._encode_lists(texts, num_threads)]

    def encode_joined(
        self, texts: Sequence[str], num_threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all texts one after another, and how many each has: no array for each text."""
        encoded = self._encode_lists(texts, num_threads)
        joined = array("i")
        for ids in encoded:
            joined.fromlist(ids)
        return np.frombuffer(joined, np.int32), lengths(encoded)

    def _encode_lists(self, texts: Sequence[str], num_threads: int | None) -> list[list[int]]:
        return self._processor.encode(list(texts), num_threads=-1 if num_threads is None else num_threads)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``; a sentinel is set off by spaces, an unknown id is ``⁇``."""
        parts: list[str] = []
        run: list[int] = []
        for token in map(int, ids):
            if token in (self.pad_id, self.eos_id, self.bos_id):
                continue
            if self.num_pieces <= token < self.size:
                parts.append(self._processor.decode(run))
                parts.append(f"<extra_id_{self.size - 1 - token}>")
                run = []
            else:
                run.append(token if 0 <= token < self.num_pieces else self._processor.unk_id())
        parts.append(self._processor.decode(run))
        return " ".join(part for part in parts if part)

    def _continuations(self) -> list[bool]:
        # A piece for a byte is part of a character, whose first byte may begin a word: rare, and not told.
        names = [self._processor.id_to_piece(token) for token in range(self.num_pieces)]
        return [name[:1].isalnum() or self._processor.is_byte(token) for token, name in enumerate(names)]

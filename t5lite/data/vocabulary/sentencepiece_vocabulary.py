"""SentencePiece vocabularies with T5's conventions: pad 0, EOS 1, sentinels at the top."""

import hashlib
import json
import os
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import sentencepiece

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.lfs import check_content_is_no_lfs_pointer
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.vocabulary.base import (
    USUAL_NAMES,
    Vocabulary,
    VocabularyKind,
    check_extra_ids,
    lengths,
    sentinels_from_the_top,
)
from t5lite.data.vocabulary.chat_templates import CHAT_TEMPLATE, Templates, further_files, kept, templates
from t5lite.data.vocabulary.json_files import TOKENIZER_CONFIG, json_object, read_file
from t5lite.data.vocabulary.sentencepiece_model import as_control_pieces, user_defined_pieces

DEFAULT_EXTRA_IDS = 100
MAX_MODEL_BYTES = 64 << 20
"""Of a model: ten times that of 256,000 pieces. The library crashes where there are 2 GiB."""


class OtherConventionsError(DataError):
    """A SentencePiece model has other pad and EOS ids than T5's."""


class SentencePieceVocabulary(Vocabulary):
    """A SentencePiece model plus ``extra_ids`` sentinels that follow its pieces.

    The ids of the model's pieces come first, then those of the sentinels. A model may have sentinels
    among its own pieces: mT5's are the last ones, user-defined symbols of a trainer the first; they are
    recognised by their names, wherever they are, and none are added. Ids beyond ``size`` decode as unknown.

    What a text spells is text, also where the model has the name of a sentinel or a special token as a
    user-defined symbol, which SentencePiece itself would cut out of every text.

    Attributes:
      model_bytes: the model file's content.
      chat_templates: those beside it, by name.
      has_own_sentinels: whether the sentinels are pieces of the model instead of ids added to it.

    Args:
      path: the ``.model`` file.
      extra_ids: number of sentinels; None takes those of the model, or 100 if it has none.

    Raises:
      DataError: if the file is missing or is not a SentencePiece model; ``OtherConventionsError`` if it has
        other pad and EOS ids than T5's.
      ConfigError: if ``extra_ids`` contradicts the model's own sentinels.
    """

    kind: ClassVar[VocabularyKind] = "sentencepiece"
    FILE: ClassVar[str] = "spiece.model"

    def __init__(self, path: str | os.PathLike[str], extra_ids: int | None = None):
        if extra_ids is not None:
            check_extra_ids(extra_ids)
        self.path = place(path)
        try:
            self.model_bytes = read_at_most(self.path, MAX_MODEL_BYTES)
        except OSError as error:
            raise DataError(
                f"cannot read the vocabulary {path} ({error.strerror}); give the path of a SentencePiece "
                "model (spiece.model)"
            ) from error
        check_content_is_no_lfs_pointer(self.model_bytes, path)
        try:
            self._processor = _load(self.model_bytes)
        except RuntimeError as error:
            raise DataError(f"{path} is not a SentencePiece model; give a spiece.model file") from error
        self._set_special_ids()
        self._set_sizes(extra_ids)
        self._text_processor = self._without_spelled_specials()
        self.chat_templates = _chat_templates(self.path.parent)
        template, config = kept(self.chat_templates)
        said = {TOKENIZER_CONFIG: (json.dumps(config, ensure_ascii=False) + "\n").encode()} if config else {}
        self.files = {self.FILE: self.model_bytes, **template, **said}
        digest = hashlib.sha256(self.model_bytes)
        digest.update(f"extra_ids={self.extra_ids}".encode())
        self.fingerprint = digest.hexdigest()

    def _set_special_ids(self) -> None:
        self.pad_id, self.eos_id = PAD_ID, EOS_ID
        self.unk_id = self._processor.unk_id()
        self.bos_id = None if self._processor.bos_id() < 0 else self._processor.bos_id()
        found = (self._processor.pad_id(), self._processor.eos_id())
        if found != (PAD_ID, EOS_ID):
            folder = self.path.parent
            raise OtherConventionsError(
                f"{self.path} has pad, EOS ids {found}, and T5's are (0, 1). One of another model is read "
                f"from a tokenizer.json: AutoTokenizer.from_pretrained({str(folder)!r})"
                f".save_pretrained({str(folder)!r}) of transformers writes it, then give --vocabulary "
                f"{folder / 'tokenizer.json'}. One of your own: retrain it with pad_id=0, eos_id=1, "
                "unk_id=2, bos_id=-1 (`t5lite prepare` does)"
            )

    def _set_sizes(self, extra_ids: int | None) -> None:
        total: int = self._processor.get_piece_size()
        own = self._own_sentinels()
        if own and extra_ids not in (None, 0, len(own)):
            raise ConfigError(
                f"extra_ids={extra_ids}, but {self.path} has {len(own)} sentinels among its pieces; use "
                f"extra_ids={len(own)}"
            )
        self.has_own_sentinels = bool(own)
        added = 0 if own else DEFAULT_EXTRA_IDS if extra_ids is None else extra_ids
        self.size = total + added
        self.sentinel_ids = np.array(own, np.int32) if own else sentinels_from_the_top(self.size, added)
        if added and extra_ids is None:
            self.caveat = (
                f"{self.path} has {total:,} pieces and no sentinels, so T5's {added} are added behind them, "
                f"from <extra_id_0> as id {self.size - 1:,} down to id {total:,}; for another number, or a "
                "model that has none, give --extra-ids"
            )

    def _own_sentinels(self) -> list[int]:
        """Return the ids of the sentinels among the model's pieces, ``<extra_id_0>`` first."""
        ids: list[int] = []
        while True:
            name = f"<extra_id_{len(ids)}>"
            # A name that is no piece has the id of UNK.
            found = [self._processor.piece_to_id(spelling) for spelling in (name, f"▁{name}")]
            known = [token for token in found if token != self.unk_id]
            if not known:
                return ids
            ids.append(known[0])

    def _without_spelled_specials(self) -> Any:
        """Return the processor for text: the names of sentinels and special tokens are no pieces to it."""
        names = {name for usual in USUAL_NAMES.values() for name in usual}
        hidden = {token for token in map(self._processor.piece_to_id, names) if token != self.unk_id}
        hidden |= {token for token in self.sentinel_ids.tolist() if token < self._processor.get_piece_size()}
        if all(self._processor.is_control(token) for token in hidden):
            return self._processor
        return _load(as_control_pieces(self.model_bytes, hidden))

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceVocabulary, (self.path, self.extra_ids)

    @property
    def text_model(self) -> bytes:
        """The model by which texts are cut: special tokens and sentinels are no pieces to it."""
        return self._text_processor.serialized_model_proto()

    @property
    def takes_extra_ids(self) -> bool:
        """Whether the sentinels are added to the model's pieces."""
        return not self.has_own_sentinels

    def has_added(self, name: str, token: int, *, special: bool) -> bool:
        """Whether a token that was added to a tokenizer is one here too, with the same id.

        Args:
          name: the token.
          token: its id.
          special: whether it is a special token, which no text is cut into; names of those may differ.
        """
        if self.has_sentinel(name, token) or (special and token < self._processor.get_piece_size()):
            return True
        return self._processor.piece_to_id(name) == token and token in self._user_defined_pieces

    @cached_property
    def _user_defined_pieces(self) -> set[int]:
        return user_defined_pieces(self.model_bytes)

    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the ids of ``text``; white space around a parsed sentinel is not text."""
        if not parse_sentinels:
            return np.asarray(self._text_processor.encode(text), np.int32)
        (first, *others), sentinels = self.around_sentinels(text)
        if not sentinels:
            return np.asarray(self._text_processor.encode(text), np.int32)
        last = others.pop()
        ids = list(self._text_processor.encode(first.rstrip()))
        for sentinel, following in zip(sentinels, [*map(str.strip, others), last.lstrip()], strict=True):
            ids.append(sentinel)
            ids.extend(self._text_processor.encode(following))
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

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of ``text``, and where each begins.

        Pieces one after another are the normalised text, of which the library says where its characters come
        from; pieces for the bytes of a character are one character together.
        """
        ids = self.encode(text)
        pieces = self._text_processor.encode(text, out_type=str)
        _, places = self._text_processor.normalize(text, with_offsets=True)
        num_characters_N = np.fromiter(map(len, pieces), np.int64, len(pieces))
        of_byte_N = self._characters_of_bytes[ids]
        num_characters_N = np.where(of_byte_N < 0, num_characters_N, of_byte_N)
        begins_N = np.cumsum(num_characters_N) - np.maximum(num_characters_N, 1)
        return ids, np.asarray(places, np.int64)[begins_N]

    @cached_property
    def _characters_of_bytes(self) -> np.ndarray:
        """Of every piece for a byte, 1 if a character begins with it, 0 if one goes on; of the others -1."""
        found = np.full(self.size, -1, np.int64)
        for token in range(self._processor.get_piece_size()):
            if self._processor.is_byte(token):
                byte = int(self._processor.id_to_piece(token)[1:-1], 16)
                found[token] = byte & 0xC0 != 0x80
        return found

    def _encode_lists(self, texts: Sequence[str], num_threads: int | None) -> list[list[int]]:
        return self._text_processor.encode(
            list(texts), num_threads=-1 if num_threads is None else num_threads
        )

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``; a sentinel is set off by spaces, an unknown id is ``⁇``."""
        numbers = {token: number for number, token in enumerate(self.sentinel_ids.tolist())}
        parts: list[str] = []
        run: list[int] = []
        for token in map(int, ids):
            if token in (self.pad_id, self.eos_id, self.bos_id):
                continue
            if token in numbers:
                parts += [self._processor.decode(run), f"<extra_id_{numbers[token]}>"]
                run = []
            else:
                run.append(
                    token if 0 <= token < self._processor.get_piece_size() else self._processor.unk_id()
                )
        parts.append(self._processor.decode(run))
        return " ".join(part for part in parts if part)

    def _continuations(self) -> list[bool]:
        # A piece for a byte is part of a character, whose first byte may begin a word: rare, and not told.
        names = [self._processor.id_to_piece(token) for token in range(self._processor.get_piece_size())]
        return [name[:1].isalnum() or self._processor.is_byte(token) for token, name in enumerate(names)]


def _chat_templates(folder: StoragePath) -> Templates:
    """Return the templates beside a model.

    Raises:
      DataError: if the files cannot be read.
    """
    names = [name for name in (CHAT_TEMPLATE, *further_files(folder)) if (folder / name).is_file()]
    said = folder / TOKENIZER_CONFIG
    config = json_object(read_file(said), said) if said.is_file() else {}
    return templates({name: read_file(folder / name) for name in names}, config)


def _load(model: bytes) -> Any:
    # The stubs of sentencepiece know neither the keyword arguments nor the overloads used here.
    processor = cast(Any, sentencepiece.SentencePieceProcessor)()
    processor.LoadFromSerializedProto(model)
    return processor

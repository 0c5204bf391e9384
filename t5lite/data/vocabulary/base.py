"""What every vocabulary can do, whichever way it cuts text into tokens."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from t5lite.core import files
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import StoragePath

VocabularyKind = Literal["sentencepiece", "bytes", "tokenizer_json"]
SpecialToken = Literal["pad", "eos", "unk", "bos", "cls", "sep", "mask"]
SENTINEL = re.compile(r"<extra_id_(\d+)>")
USUAL_NAMES: Mapping[SpecialToken, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>"),
    "eos": ("</s>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>"),
    "bos": ("<s>",),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]", "<mask>"),
}
"""Names by which special tokens are known where no file says which they are."""


MAX_EXTRA_IDS = 1 << 20
"""Most sentinels that a vocabulary can be given."""


@dataclass(frozen=True)
class Frame:
    """Ids that stand around a text."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.before) + len(self.after)

    def around(self, ids: np.ndarray, length: int) -> np.ndarray:
        """Return ids in the frame (int32), cut at their end so that ``length`` holds them all.

        Raises:
          ConfigError: if it does not even hold the frame.
        """
        if length < self.size:
            raise ConfigError(
                f"{length} tokens have no room for the {self.size} around a text; use {self.size + 1} or more"
            )
        body = ids[: length - self.size]
        return np.concatenate([self.before, body, self.after]).astype(np.int32)


class Vocabulary(ABC):
    """Text to ids and back.

    Sentinels descend from the top as in T5, ``<extra_id_i>`` being ``size - 1 - i``, unless the files name
    other ids. A model's embedding table may be larger than ``size`` (T5's has 32,128 rows for 32,100 ids).

    A text that spells a special token or a sentinel is ordinary text: ``encode`` gives their ids only to
    prompts (``parse_sentinels``).

    A special token that a vocabulary does not have is None (GPT-2 has no pad, BERT no EOS); who cannot do
    without asks ``special_id``. Padding of a batch is 0 in any case and has no weight, so it needs no token.

    A worker process that is handed a vocabulary opens its file again.

    Attributes:
      kind: which class it is, in files and messages.
      path: the file or directory it was opened from.
      size: number of ids, special tokens and sentinels included.
      sentinel_ids: int32, the id of ``<extra_id_i>`` at place ``i``.
      fingerprint: SHA-256 (hex); equal fingerprints mean equal ids.
      earlier_fingerprint: what an older version called the same ids, in stores and runs that it wrote; None
        where that is ``fingerprint``.
      own_frame: what the tokenizer's own rules put around a single text (Llama's BOS, BERT's [CLS] and
        [SEP]), which ``encode`` leaves out; None where that is nothing.
      own_separators: what they put between two texts (RoBERTa's two ``</s>``).
      caveat: what a user who gives it is to be told, such as how ids may differ from another library's.
      files: content by name of the files that ``open_vocabulary`` needs to open an equal one; the first is
        the one to name to a user.
    """

    kind: ClassVar[VocabularyKind]
    path: StoragePath
    size: int
    sentinel_ids: np.ndarray
    fingerprint: str
    earlier_fingerprint: str | None = None
    files: Mapping[str, bytes]
    own_frame: Frame | None = None
    own_separators: tuple[int, ...] = ()
    caveat: str = ""

    pad_id: int | None = None
    eos_id: int | None = None
    unk_id: int | None = None
    bos_id: int | None = None
    cls_id: int | None = None
    sep_id: int | None = None
    mask_id: int | None = None

    @property
    def extra_ids(self) -> int:
        """Number of sentinels."""
        return len(self.sentinel_ids)

    @property
    def prompt_prefix(self) -> tuple[int, ...]:
        """Ids in front of a prompt of a model that was trained on what the tokenizer's own rules make."""
        return () if self.own_frame is None else self.own_frame.before

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Whether ids that a store or a run says are of this fingerprint are those of this vocabulary."""
        return fingerprint in (self.fingerprint, self.earlier_fingerprint)

    def has_sentinel(self, name: str, token: int) -> bool:
        """Whether a token is a sentinel, and has the id that it has here."""
        return self._ids_by_sentinel.get(name) == token

    @cached_property
    def _ids_by_sentinel(self) -> Mapping[str, int]:
        return {f"<extra_id_{index}>": token for index, token in enumerate(self.sentinel_ids.tolist())}

    def around_sentinels(self, text: str) -> tuple[list[str], list[int]]:
        """Return the texts before, between and after the sentinels that ``text`` spells, and their ids.

        What is called as sentinels are and is none of this vocabulary's (``<extra_id_100>`` of a hundred,
        ``<extra_id_007>``) is text.
        """
        texts: list[str] = []
        ids: list[int] = []
        end = 0
        for found in SENTINEL.finditer(text):
            token = self._ids_by_sentinel.get(found[0])
            if token is not None:
                texts.append(text[end : found.start()])
                ids.append(token)
                end = found.end()
        return [*texts, text[end:]], ids

    @property
    def takes_extra_ids(self) -> bool:
        """Whether it can be opened with another number of sentinels (``extra_ids``)."""
        return True

    @cached_property
    def text_ids(self) -> np.ndarray:
        """Int32, ascending: all ids but the sentinels'."""
        return np.setdiff1d(np.arange(self.size, dtype=np.int32), self.sentinel_ids)

    def sentinel(self, index: int) -> int:
        """Return the id of ``<extra_id_index>``.

        Raises:
          ConfigError: if the vocabulary has no such sentinel.
        """
        if not 0 <= index < self.extra_ids:
            raise ConfigError(f"sentinel {index} does not exist; the vocabulary has {self.extra_ids}")
        return int(self.sentinel_ids[index])

    def special_id(self, token: SpecialToken, *, needed_for: str) -> int:
        """Return the id of a special token that the caller cannot do without.

        Raises:
          ConfigError: if the vocabulary has none, saying what needs it (``needed_for``).
        """
        found: int | None = getattr(self, f"{token}_id")
        if found is None:
            raise ConfigError(
                f"the vocabulary {self.path} has no {token} token, which {needed_for} needs; use a "
                f"vocabulary that has one{self._special_remedy(token)}"
            )
        return found

    def _special_remedy(self, token: SpecialToken) -> str:
        """Return a phrase to add to that: how this kind of vocabulary can be given one."""
        del token
        return ""

    @abstractmethod
    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the int32 ids of ``text``, with no special token added at either end.

        Args:
          text: any text; what looks like a special token is ordinary text unless ``parse_sentinels``.
          parse_sentinels: turn ``<extra_id_i>``, and the special tokens of a tokenizer.json such as
            ``[MASK]``, into their ids, for prompts that fill in spans; those of other vocabularies are text.
        """

    @abstractmethod
    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Return the ids of each text as ``encode`` does, on ``num_threads`` threads (None: all cores)."""

    @abstractmethod
    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of ``text`` as ``encode`` does, and where in it each begins (int64, in characters).

        The places ascend, and several tokens may begin at one: the bytes of a character, pieces of one that
        is normalised to several (``½``), a space that the vocabulary puts in front. What no token stands
        for, such as white space or an accent that is dropped, has none.
        """

    def encode_joined(
        self, texts: Sequence[str], num_threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all texts one after another, and how many each has (int64)."""
        encoded = self.encode_batch(texts, num_threads)
        return np.concatenate([np.empty(0, np.int32), *encoded]), lengths(encoded)

    @abstractmethod
    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``: pad, EOS, BOS, CLS and SEP are dropped, sentinels are rendered.

        One that is a single character (GPT-2's ``!`` for padding) is text, and kept. It does not stop at
        EOS; cut the ids first if what follows it does not matter.
        """

    def num_open(self, ids: Sequence[int]) -> int:
        """Return of how many ids at the end ``decode`` may make something else when more follow.

        Bytes of a character that is not whole aside, which are U+FFFD until it is.
        """
        del ids
        return 0

    def num_bytes(self, ids: Iterable[int] | np.ndarray, *, goes_on: bool = False) -> int:
        """Return the UTF-8 bytes of the text of ``ids``, among which there is no sentinel.

        Args:
          ids: tokens.
          goes_on: whether other text stands before it, so that a space at its beginning counts.
        """
        before = self.encode("a").tolist() if goes_on else []
        return len(self.decode([*before, *ids]).encode()) - len(self.decode(before).encode())

    def token_text(self, token: int) -> str:
        """Return what a token is called, for messages: also those that ``decode`` leaves out."""
        return self.decode([token])

    @cached_property
    def loses_characters(self) -> bool:
        """Whether a character may be left out of the ids of a text without a trace, for want of an UNK."""
        return False

    def num_lost(self, text: str) -> int:
        """Return how many characters of ``text``, white space aside, no token stands for.

        What the tokenizer's normalisation removes is not counted.
        """
        del text
        return 0

    @property
    def known_ids(self) -> np.ndarray:
        """Array bool [size], true of ids that stand for a token; a tokenizer.json may leave some out."""
        return np.ones(self.size, bool)

    @cached_property
    def word_continuations(self) -> np.ndarray:
        """Array bool [size], true of tokens that go on with the word of the token before them.

        What begins with a space, punctuation, special tokens and sentinels do not.
        """
        continuations = np.zeros(self.size, bool)
        found = self._continuations()
        continuations[: len(found)] = found
        return continuations

    @abstractmethod
    def _continuations(self) -> Sequence[bool]:
        """Return ``word_continuations`` of the first ids; all after them are False."""

    def write(self, folder: StoragePath) -> None:
        """Write ``files`` into ``folder``, each atomically."""
        for name, content in self.files.items():
            files.write_bytes(folder / name, content)


def check_extra_ids(extra_ids: int) -> None:
    """Check a number of sentinels that a user gave.

    Raises:
      ConfigError: if it is negative, or more than any embedding table has rows for.
    """
    if not 0 <= extra_ids <= MAX_EXTRA_IDS:
        raise ConfigError(f"extra_ids={extra_ids} must be in 0..{MAX_EXTRA_IDS}; T5 uses 100, ByT5 125")


def is_sentinel(name: str) -> bool:
    """Whether a token is called as sentinels are."""
    return SENTINEL.fullmatch(name) is not None


def sentinels_from_the_top(size: int, extra_ids: int) -> np.ndarray:
    """Return the sentinels' ids (int32) as T5 numbers them: ``<extra_id_0>`` is the last id of all."""
    return np.arange(size - 1, size - 1 - extra_ids, -1, dtype=np.int32)


def lengths(encoded: Sequence[Sized]) -> np.ndarray:
    """Return how many ids each text has (int64)."""
    return np.fromiter(map(len, encoded), np.int64, len(encoded))

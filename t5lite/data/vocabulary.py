"""SentencePiece vocabularies with T5's conventions: pad 0, EOS 1, UNK 2, no BOS, sentinels at the top."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import sentencepiece

from t5lite.core import files
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.local_path import local_path

_SENTINEL = re.compile(r"\s*<extra_id_(\d+)>\s*")


class Vocabulary:
    """A SentencePiece model plus ``extra_ids`` sentinels that follow its pieces.

    Ids ``[0, num_pieces)`` are the model's pieces; ``size - 1 - i`` is ``<extra_id_i>``, so sentinels
    descend from the top as in T5. A model's embedding table may be larger than ``size`` (T5's has 32,128
    rows for 32,100 ids); ids beyond it decode as unknown.

    Attributes:
      path: the ``.model`` file.
      extra_ids: number of sentinels.
      num_pieces: number of SentencePiece pieces.
      size: ``num_pieces + extra_ids``.
      fingerprint: SHA-256 (hex) of the model's bytes and ``extra_ids``; equal fingerprints mean equal ids.

    Raises:
      DataError: if the file is missing, is not a SentencePiece model, or has other special ids than T5's.
    """

    pad_id = PAD_ID
    eos_id = EOS_ID
    unk_id = 2

    def __init__(self, path: str | Path, extra_ids: int = 100):
        if extra_ids < 0:
            raise ConfigError(f"extra_ids={extra_ids} must not be negative; T5 uses 100")
        self.path = local_path(path)
        self.extra_ids = extra_ids
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
        self.num_pieces: int = self._processor.get_piece_size()
        self.size = self.num_pieces + extra_ids
        digest = hashlib.sha256(self.model_bytes)
        digest.update(f"extra_ids={extra_ids}".encode())
        self.fingerprint = digest.hexdigest()
        self._check_special_ids()

    def _check_special_ids(self) -> None:
        found = (self._processor.pad_id(), self._processor.eos_id(), self._processor.unk_id())
        if found != (self.pad_id, self.eos_id, self.unk_id):
            raise DataError(
                f"{self.path} has pad, EOS, UNK ids {found}, T5 needs (0, 1, 2); retrain it with "
                "pad_id=0, eos_id=1, unk_id=2, bos_id=-1 (`t5lite prepare` does)"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes reload the model from its path instead of receiving its bytes.
        return Vocabulary, (self.path, self.extra_ids)

    def sentinel(self, index: int) -> int:
        """Return the id of ``<extra_id_index>``.

        Raises:
          ConfigError: if the vocabulary has no such sentinel.
        """
        if not 0 <= index < self.extra_ids:
            raise ConfigError(f"sentinel {index} does not exist; the vocabulary has {self.extra_ids}")
        return self.size - 1 - index

    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the int32 ids of ``text``, without EOS.

        Args:
          text: any text; what looks like a sentinel is ordinary text unless ``parse_sentinels``.
          parse_sentinels: turn ``<extra_id_i>`` into sentinel ids, for prompts that fill in spans.
        """
        if not parse_sentinels:
            return np.asarray(self._processor.encode(text), np.int32)
        pieces = _SENTINEL.split(text)  # text, number, text, number, …, text
        ids = list(self._processor.encode(pieces[0]))
        for number, following in zip(pieces[1::2], pieces[2::2], strict=True):
            ids.append(self.sentinel(int(number)))
            ids.extend(self._processor.encode(following))
        return np.asarray(ids, np.int32)

    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Return the ids of each text, without EOS, encoded on ``num_threads`` threads (None: all cores)."""
        encoded = self._processor.encode(list(texts), num_threads=-1 if num_threads is None else num_threads)
        return [np.asarray(ids, np.int32) for ids in encoded]

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``: pad and EOS are dropped wherever they are, sentinels are rendered.

        It does not stop at EOS; cut the ids first if what follows it does not matter.
        """
        parts: list[str] = []
        run: list[int] = []
        for token in map(int, ids):
            if token in (self.pad_id, self.eos_id):
                continue
            if self.num_pieces <= token < self.size:
                parts.append(self._processor.decode(run))
                parts.append(f"<extra_id_{self.size - 1 - token}>")
                run = []
            else:
                run.append(token if 0 <= token < self.num_pieces else self.unk_id)
        parts.append(self._processor.decode(run))
        return " ".join(part for part in parts if part)


def train_vocabulary(
    texts: Iterable[str],
    output: Path,
    *,
    size: int,
    seed: int = 0,
    character_coverage: float = 0.99999,
    max_sentences: int = 2_000_000,
) -> None:
    """Train a unigram SentencePiece model with T5's special ids and write it to ``output`` atomically.

    Args:
      texts: the training text; read once, in order.
      output: the ``.model`` file to write.
      size: number of pieces, pad, EOS and UNK included, sentinels not.
      seed: of the sample drawn when there are more than ``max_sentences`` texts.
      character_coverage: share of the text's characters that get a piece; the rest becomes UNK.
      max_sentences: how many texts the trainer keeps in memory.

    Raises:
      DataError: if there is no text, or ``size`` does not fit the text; the message gives one that does.
      Exception: whatever ``texts`` raises.
    """
    model = io.BytesIO()
    failures: list[BaseException] = []

    def watched() -> Iterator[str]:
        """SentencePiece turns whatever a text raises into the text of a RuntimeError: keep the original."""
        try:
            yield from texts
        except BaseException as error:
            failures.append(error)
            raise

    cast(Any, sentencepiece).set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=watched(),
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            character_coverage=character_coverage,
            pad_id=Vocabulary.pad_id,
            eos_id=Vocabulary.eos_id,
            unk_id=Vocabulary.unk_id,
            bos_id=-1,
            pad_piece="<pad>",
            eos_piece="</s>",
            unk_piece="<unk>",
            # The default of 4192 bytes silently skips longer paragraphs.
            max_sentence_length=1 << 20,
            input_sentence_size=max_sentences,
            shuffle_input_sentence=True,
            minloglevel=2,
        )
    except RuntimeError as error:
        if failures:
            raise failures[0] from None
        raise _training_error(str(error), size) from error
    files.write_bytes(output, model.getvalue())


def _training_error(message: str, size: int) -> Exception:
    """Turn SentencePiece's message into one that names the option and a size that works."""
    if found := re.search(r"Please set it to a value <= (\d+)", message):
        return DataError(
            f"vocabulary_size={size} is too large for this text, which supports at most {found[1]} pieces; "
            f"use vocabulary_size={found[1]} or less, or more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return DataError(
            f"vocabulary_size={size} is too small: the characters of this text alone need {found[1]} pieces; "
            f"use more than {found[1]}"
        )
    if "sentences_.empty()" in message:
        return DataError("there is no text to train a vocabulary on; check the inputs")
    return DataError(f"SentencePiece could not train a vocabulary of {size} pieces: {message}")

"""Training a SentencePiece vocabulary with T5's special ids."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import sentencepiece

from t5lite.core import files
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.text_cutting import cut_text

_UNK_ID = 2
_MAX_SENTENCE_CHARACTERS = 1 << 14
"""The trainer would skip long ones without a word, and takes time as their length where they repeat
themselves. It takes no more than 2^31 characters in all, so 2,000,000 sentences of 1,000 on average."""
_MAX_WORD_CHARACTERS = 128
"""The trainer finds ever fewer pieces in longer stretches without white space: of 60,000 Chinese characters,
made-up words in a row, 2 that are more than a character if it is given them at once, and 567 by 32."""
_RESERVED = "\N{LOWER FIVE EIGHTHS BLOCK}"
"""The trainer's own sign for what is unknown: it skips texts that hold it."""


def train_vocabulary(
    texts: Iterable[str],
    output: StoragePath,
    *,
    size: int,
    seed: int = 0,
    character_coverage: float = 0.99999,
    max_sentences: int = 2_000_000,
) -> None:
    """Train a unigram SentencePiece model with T5's special ids and write it to ``output`` atomically.

    Args:
      texts: the training text; read once, in order. What is longer than 16,384 characters, or than 128
        without white space, is cut; nothing of it is lost.
      output: the ``.model`` file to write.
      size: number of pieces, pad, EOS and UNK included, sentinels not.
      seed: of the sample drawn when there are more than ``max_sentences`` texts (or cuts of them).
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
            for text in texts:
                yield from _sentences(text)
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
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=_UNK_ID,
            bos_id=-1,
            pad_piece="<pad>",
            eos_piece="</s>",
            unk_piece="<unk>",
            max_sentence_length=1 << 20,  # in bytes, more than a sentence has here
            input_sentence_size=max_sentences,
            shuffle_input_sentence=True,
            minloglevel=2,
        )
    except RuntimeError as error:
        if failures:
            raise failures[0] from None
        raise _training_error(str(error), size) from error
    files.write_bytes(output, model.getvalue())


def check_character_coverage(character_coverage: float) -> None:
    """Check a share of characters that a user gave.

    Raises:
      ConfigError: if SentencePiece would not take it.
    """
    if not 0.98 <= character_coverage <= 1:
        raise ConfigError(f"character_coverage={character_coverage} must be at least 0.98 and at most 1")


def _sentences(text: str) -> Iterator[str]:
    """Yield ``text`` as the trainer takes it: it looks at words, so cuts at white space change nothing."""
    words = text.replace(_RESERVED, " ").split()
    if max(map(len, words), default=0) > _MAX_WORD_CHARACTERS:
        words = [part for word in words for part in cut_text(word, _MAX_WORD_CHARACTERS)]
    yield from cut_text(" ".join(words), _MAX_SENTENCE_CHARACTERS)


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
            f"use vocabulary_size={found[1]} or more"
        )
    if "sentences_.empty()" in message:
        return DataError("there is no text to train a vocabulary on; check the inputs")
    return DataError(f"SentencePiece could not train a vocabulary of {size} pieces: {message}")

"""Training a SentencePiece vocabulary with T5's special ids."""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import sentencepiece

from t5lite.core import files
from t5lite.core.errors import DataError
from t5lite.core.types import EOS_ID, PAD_ID

_UNK_ID = 2


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
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=_UNK_ID,
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

"""Exported tokenizers as ``AutoTokenizer`` reads them, and what they must give."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AutoTokenizer

from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary
from t5lite.interop.huggingface.tokenizer_files import tokenizer_files
from t5lite.models.config import Architecture

MODEL_TYPES: dict[Architecture, str] = {
    "encoder_decoder": "t5",
    "encoder_only": "bert",
    "decoder_only": "gpt2",
}


def train_sentencepiece(
    folder: Path, lines: Iterable[str], *, extra_ids: int | None = 20, **options: Any
) -> SentencePieceVocabulary:
    """Train a small vocabulary with any of the trainer's options."""
    defaults: dict[str, Any] = {
        "vocab_size": 400,
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "hard_vocab_limit": False,
        "minloglevel": 2,
    }
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "spiece"), **(defaults | options)
    )
    return SentencePieceVocabulary(folder / "spiece.model", extra_ids=extra_ids)


def export_tokenizer(
    vocabulary: Vocabulary,
    folder: Path,
    architecture: Architecture = "encoder_decoder",
    model_type: str | None = None,
) -> Path:
    """Write the files of an exported folder that ``AutoTokenizer`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tokenizer_files(vocabulary, architecture).items():
        (folder / name).write_bytes(content)
    config = {"model_type": model_type or MODEL_TYPES[architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path) -> Any:
    """Return what ``AutoTokenizer`` makes of a folder."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def framed(
    vocabulary: Vocabulary, texts: Sequence[str], before: Sequence[int] = (), after: Sequence[int] = ()
) -> list[list[int]]:
    """Return what the vocabulary makes of texts, between what an architecture adds."""
    return [[*before, *ids.tolist(), *after] for ids in vocabulary.encode_batch(texts)]

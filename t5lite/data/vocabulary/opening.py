"""Which vocabulary a path stands for."""

import json
from pathlib import Path
from typing import Any

from t5lite.core.errors import DataError
from t5lite.data.local_path import local_path
from t5lite.data.vocabulary.base import Vocabulary, VocabularyKind
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.data.vocabulary.sentencepiece_vocabulary import SentencePieceVocabulary
from t5lite.data.vocabulary.tokenizer_json import TokenizerJsonVocabulary

_Openable = ByteVocabulary | SentencePieceVocabulary | TokenizerJsonVocabulary
_CLASSES: dict[VocabularyKind, type[_Openable]] = {
    "bytes": ByteVocabulary,
    "sentencepiece": SentencePieceVocabulary,
    "tokenizer_json": TokenizerJsonVocabulary,
}
"""In the order in which a directory is searched for their files."""
_CONFIG_FILE = "tokenizer_config.json"

FILE_NAMES = (ByteVocabulary.FILE, SentencePieceVocabulary.FILE, *TokenizerJsonVocabulary.FILES)
"""Every file that a vocabulary may consist of, in a store or run directory."""


def open_vocabulary(
    path: str | Path, extra_ids: int | None = None, *, kind: VocabularyKind | None = None
) -> Vocabulary:
    """Open the vocabulary at ``path``.

    Args:
      path: ``bytes`` for ByT5's vocabulary; a ``tokenizer.json`` or another ``.json`` of that format; any
        other file as a SentencePiece model; or a directory with one of these, such as a Hugging Face folder,
        whose tokenizer_config.json may name ``ByT5Tokenizer`` and the number of sentinels. A directory with
        both spiece.model and tokenizer.json (T5's) is read from the former.
      extra_ids: number of sentinels; None takes what the files say, else T5's 100 or ByT5's 125.
      kind: what it must be; None finds out.

    Raises:
      DataError: if there is nothing usable at ``path``.
      ConfigError: if ``extra_ids`` contradicts the files.
      UserError: for a tokenizer.json, if the ``tokenizers`` library is missing.
    """
    if str(path) == ByteVocabulary.NAME and kind in (None, "bytes"):
        return ByteVocabulary(extra_ids=extra_ids)
    path = local_path(path)
    if not path.is_dir():
        return _CLASSES[kind or _kind_of_file(path)](path, extra_ids)
    if kind is not None:
        return _CLASSES[kind](path / _CLASSES[kind].FILE, extra_ids)
    vocabulary = find_vocabulary(path, extra_ids)
    if vocabulary is None:
        names = ", ".join(each.FILE for each in _CLASSES.values())
        raise DataError(
            f"{path} has no vocabulary (none of {names}); give one of them, or bytes. From a vocab.txt or "
            "vocab.json, transformers' AutoTokenizer and save_pretrained make a tokenizer.json"
        )
    return vocabulary


def find_vocabulary(path: Path, extra_ids: int | None = None) -> Vocabulary | None:
    """Open the vocabulary in a directory as ``open_vocabulary`` does; None where there is none."""
    config = _read_config(path / _CONFIG_FILE)
    # What the class adds to the files; in a tokenizer.json they are counted instead.
    said: int | None = config.get("extra_ids") if extra_ids is None else extra_ids
    if config.get("tokenizer_class") == "ByT5Tokenizer":
        return ByteVocabulary(extra_ids=_byt5_sentinels(config) if extra_ids is None else extra_ids)
    found = next((each for each in _CLASSES.values() if (path / each.FILE).is_file()), None)
    if found is None:
        return None
    return found(path / found.FILE, extra_ids if found is TokenizerJsonVocabulary else said)


def _kind_of_file(path: Path) -> VocabularyKind:
    if path.name == ByteVocabulary.FILE:
        return "bytes"
    return "tokenizer_json" if path.suffix == ".json" else "sentencepiece"


def _byt5_sentinels(config: dict[str, Any]) -> int | None:
    """Return how many sentinels a ByT5Tokenizer has: transformers 5 saves it with ``extra_ids`` 0."""
    added = config.get("added_tokens_decoder")
    names = [str(token) for token in added.values()] if isinstance(added, dict) else []
    return sum("<extra_id_" in name for name in names) or config.get("extra_ids")


def _read_config(path: Path) -> dict[str, Any]:
    """Return a folder's tokenizer_config.json, an empty dict where there is none."""
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); fetch the folder again") from error
    if not isinstance(config, dict):
        raise DataError(f"{path} is damaged (not a JSON object); fetch the folder again")
    if not isinstance(config.get("extra_ids", 0), int):
        raise DataError(f"{path}: extra_ids={config['extra_ids']!r} must be an integer")
    return config

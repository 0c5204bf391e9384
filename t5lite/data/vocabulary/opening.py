"""Which vocabulary a path stands for."""

import logging
import os
from collections.abc import Sequence

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.vocabulary.base import Vocabulary, VocabularyKind, is_sentinel
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.data.vocabulary.json_files import TOKENIZER_CONFIG, json_object, read_file
from t5lite.data.vocabulary.sentencepiece_vocabulary import OtherConventionsError, SentencePieceVocabulary
from t5lite.data.vocabulary.tokenizer_classes import Json, added_tokens
from t5lite.data.vocabulary.tokenizer_json import ADDED_FILE, TokenizerJsonVocabulary

logger = logging.getLogger(__name__)

_Openable = ByteVocabulary | SentencePieceVocabulary | TokenizerJsonVocabulary
_CLASSES: dict[VocabularyKind, type[_Openable]] = {
    "bytes": ByteVocabulary,
    "sentencepiece": SentencePieceVocabulary,
    "tokenizer_json": TokenizerJsonVocabulary,
}
"""In the order in which a directory is searched for their files."""
_NAMED_TOKENS = 3

FILE_NAMES = (ByteVocabulary.FILE, SentencePieceVocabulary.FILE, *TokenizerJsonVocabulary.FILES)
"""Every file that a vocabulary may consist of, in a store or run directory."""


def open_vocabulary(
    path: str | os.PathLike[str], extra_ids: int | None = None, *, kind: VocabularyKind | None = None
) -> Vocabulary:
    """Open the vocabulary at ``path``.

    Args:
      path: ``bytes`` for ByT5's vocabulary; a ``tokenizer.json`` or another ``.json`` of that format; any
        other file as a SentencePiece model; or a directory with one of these, such as a Hugging Face folder,
        whose tokenizer_config.json may name ``ByT5Tokenizer`` and the number of sentinels. A directory with
        both spiece.model and tokenizer.json (T5's) is read from the former, unless its pad and EOS ids are
        not T5's, or tokens were added to the tokenizer that only the latter knows.
      extra_ids: number of sentinels; None takes what the files say, else T5's 100 or ByT5's 125.
      kind: what it must be; None finds out.

    Raises:
      DataError: if there is nothing usable at ``path``.
      ConfigError: if ``extra_ids`` contradicts the files.
      UserError: for a tokenizer.json, if the ``tokenizers`` library is missing.
    """
    if str(path) == ByteVocabulary.NAME and kind in (None, "bytes"):
        return ByteVocabulary(extra_ids=extra_ids)
    path = place(path)
    if not path.is_dir():
        return _said(_CLASSES[kind or _kind_of_file(path)](path, extra_ids))
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


def find_vocabulary(path: StoragePath, extra_ids: int | None = None) -> Vocabulary | None:
    """Open the vocabulary in a directory as ``open_vocabulary`` does; None where there is none."""
    config = _read_config(path / TOKENIZER_CONFIG)
    if config.get("tokenizer_class") == "ByT5Tokenizer":
        return _bytes(path, config, extra_ids)
    found = next((each for each in _CLASSES.values() if (path / each.FILE).is_file()), None)
    if found is SentencePieceVocabulary:
        return _said(_sentencepiece_or_json(path, config, extra_ids))
    return None if found is None else _said(found(path / found.FILE, extra_ids))


def _said(vocabulary: Vocabulary) -> Vocabulary:
    """Return the vocabulary that a user gave, whose caveat is told; a store's or a run's was, by then."""
    if vocabulary.caveat:
        logger.warning("%s", vocabulary.caveat)
    return vocabulary


def _bytes(path: StoragePath, config: Json, extra_ids: int | None) -> Vocabulary:
    """Return the vocabulary of a ByT5Tokenizer, whose sentinels ascend where their ids are listed so."""
    added = _added_tokens(path, config, {})
    ids = {token["content"]: token["id"] for token in added}
    vocabulary = ByteVocabulary(
        extra_ids=_num_sentinels(added, config) if extra_ids is None else extra_ids,
        ascending=ids.get("<extra_id_0>", 0) < ids.get("<extra_id_1>", 0),
    )
    if unknown := _unknown(added, vocabulary, extra_ids):
        raise DataError(
            f"tokens were added to the ByT5Tokenizer of {path}, and a vocabulary of bytes has none "
            f"({_listed(unknown)}); give bytes as the vocabulary to do without them"
        )
    return vocabulary


def _sentencepiece_or_json(path: StoragePath, config: Json, extra_ids: int | None) -> Vocabulary:
    """Open a folder's spiece.model, or tokenizer.json if its ids are not T5's or it lacks tokens."""
    in_json = path / TokenizerJsonVocabulary.FILE
    added = _added_tokens(path, config, _read_json(in_json))
    num_sentinels = _num_sentinels(added, config) if extra_ids is None else extra_ids
    try:
        vocabulary = SentencePieceVocabulary(path / SentencePieceVocabulary.FILE, num_sentinels)
    except OtherConventionsError:
        if in_json.is_file():
            return TokenizerJsonVocabulary(in_json, extra_ids)
        raise
    unknown = _unknown(added, vocabulary, extra_ids)
    if not unknown:
        return vocabulary
    if in_json.is_file():
        return TokenizerJsonVocabulary(in_json, extra_ids)
    raise DataError(
        f"tokens were added to the tokenizer of {path} that its spiece.model does not know "
        f"({_listed(unknown)}); write a tokenizer.json that does by AutoTokenizer.from_pretrained(folder)"
        f".save_pretrained(folder) of transformers, or give {vocabulary.path} as the vocabulary to do "
        "without them"
    )


def _added_tokens(path: StoragePath, config: Json, description: Json) -> list[Json]:
    """Return the tokens that were added to the tokenizer of a folder, sentinels among them."""
    try:
        return added_tokens(description, None, config, _read_json(path / ADDED_FILE))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the added tokens of {path} are damaged ({error!r}); fetch the folder again"
        ) from error


def _num_sentinels(added: Sequence[Json], config: Json) -> int | None:
    """Return how many are listed, else how many the class adds; transformers 5 saves 0 of its ByT5's."""
    return sum(is_sentinel(token["content"]) for token in added) or config.get("extra_ids")


def _unknown(
    added: Sequence[Json], vocabulary: ByteVocabulary | SentencePieceVocabulary, extra_ids: int | None
) -> list[str]:
    """Return what was added and is no token of the vocabulary; ``extra_ids`` overrules the sentinels."""
    return [
        token["content"]
        for token in added
        if not (extra_ids is not None and is_sentinel(token["content"]))
        and not vocabulary.has_added(token["content"], token["id"], special=token["special"])
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED_TOKENS]) + (", …" if len(names) > _NAMED_TOKENS else "")


def _kind_of_file(path: StoragePath) -> VocabularyKind:
    if path.name == ByteVocabulary.FILE:
        return "bytes"
    return "tokenizer_json" if path.suffix == ".json" else "sentencepiece"


def _read_config(path: StoragePath) -> Json:
    """Return a folder's tokenizer_config.json, an empty dict where there is none."""
    config = _read_json(path)
    if not isinstance(config.get("extra_ids", 0), int):
        raise DataError(f"{path}: extra_ids={config['extra_ids']!r} must be an integer")
    return config


def _read_json(path: StoragePath) -> Json:
    return json_object(read_file(path), path) if path.is_file() else {}

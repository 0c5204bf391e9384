"""The tokenizer files of a Hugging Face folder, written from a vocabulary of any kind and read back.

Under ``AutoTokenizer``, of transformers 4 and 5, they give the ids of the vocabulary; transformers is not
needed to write them. One file a kind of vocabulary.
"""

from pathlib import Path

from t5lite.core.errors import DataError
from t5lite.data.vocabulary import (
    ByteVocabulary,
    Frame,
    SentencePieceVocabulary,
    TokenizerJsonVocabulary,
    Vocabulary,
    find_vocabulary,
)
from t5lite.interop.huggingface.tokenizer_files.byte_files import byte_files
from t5lite.interop.huggingface.tokenizer_files.framing import Framing, framing
from t5lite.interop.huggingface.tokenizer_files.sentencepiece_files import sentencepiece_files
from t5lite.interop.huggingface.tokenizer_files.tokenizer_json_files import tokenizer_json_files
from t5lite.models.config import Architecture


def tokenizer_files(
    vocabulary: Vocabulary,
    architecture: Architecture,
    *,
    token_types: bool = True,
    frame: Frame | None = None,
) -> dict[str, bytes]:
    """Return what ``AutoTokenizer`` needs, such as tokenizer.json and tokenizer_config.json, by file name.

    ``AutoTokenizer`` then gives the ids of ``vocabulary.encode``, and around them what t5lite puts there for
    the architecture: the ``frame`` that it reads a text in, by default of an encoder-decoder the vocabulary's
    own or EOS after a text, of a decoder-only model nothing but ``prompt_prefix`` before it; [CLS] and [SEP],
    or what stands for them, for an encoder, which is given token types where it has those of a pair
    (``token_types``). Sentinels are found in a text, as
    ``parse_sentinels`` does; a special token that a text spells is ordinary text, except for an encoder,
    whose [MASK] must be found, and for a tokenizer.json, which has its own rule.

    Raises:
      DataError: if the vocabulary cannot be written so.
      ConfigError: if it lacks a token that the architecture needs.
    """
    around = framing(vocabulary, architecture, token_types=token_types, frame=frame)
    match vocabulary:
        case SentencePieceVocabulary():
            return sentencepiece_files(vocabulary, around)
        case ByteVocabulary():
            return byte_files(vocabulary, around)
        case TokenizerJsonVocabulary():
            return tokenizer_json_files(vocabulary, around)
        case _:
            raise TypeError(f"a vocabulary of an unknown class: {type(vocabulary).__name__}")


def export_obstacle(vocabulary: Vocabulary) -> str:
    """Return why an export of a model cannot write its vocabulary, whatever the model; empty where it can."""
    if not isinstance(vocabulary, SentencePieceVocabulary):
        return ""
    try:
        sentencepiece_files(vocabulary, Framing())
    except DataError as error:
        return str(error)
    return ""


def read_vocabulary(path: str | Path, extra_ids: int | None = None) -> Vocabulary | None:
    """Return the vocabulary of a Hugging Face folder, or None where it has none that t5lite reads.

    It is bytes where tokenizer_config.json names ``ByT5Tokenizer``, else spiece.model, else tokenizer.json.
    The number of sentinels beside a spiece.model is tokenizer_config.json's ``extra_ids``; where it does not
    say, 100. ``extra_ids`` overrules it.

    Raises:
      DataError: if a file is damaged, or spiece.model has other pad and EOS ids than T5's.
      ConfigError: if ``extra_ids`` contradicts a tokenizer.json.
      UserError: for a tokenizer.json, if the ``tokenizers`` library is missing.
    """
    return find_vocabulary(Path(path), extra_ids)

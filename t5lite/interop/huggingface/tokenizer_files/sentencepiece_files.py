"""The files of a SentencePiece vocabulary: a tokenizer.json that says exactly what SentencePiece does.

transformers' ``T5Tokenizer`` keeps of a tokenizer.json only the pieces and the character normalisation, and
has rules of its own for the rest: UNK is 2, bytes are no fallback, any white space splits, EOS is appended.
So the class is ``PreTrainedTokenizerFast``, which takes the file as it is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.vocabulary import SentencePieceVocabulary
from t5lite.data.vocabulary.chat_templates import kept
from t5lite.interop.huggingface.tokenizer_files import charsmap
from t5lite.interop.huggingface.tokenizer_files.added_tokens import (
    CONFIG,
    NAMES,
    TOKENIZER,
    added_tokens,
    config_json,
    encoded,
    special_names,
)
from t5lite.interop.huggingface.tokenizer_files.charsmap import replace, replace_all
from t5lite.interop.huggingface.tokenizer_files.framing import Framing
from t5lite.interop.huggingface.tokenizer_files.sentencepiece_merges import bpe, isolating, symbols
from t5lite.interop.huggingface.tokenizer_files.sentencepiece_model import (
    Model,
    ModelType,
    PieceType,
    read_model,
)

_SPACE = "▁"
_USER_DEFINED_SCORE = -0.1
"""What SentencePiece's search counts for a user-defined symbol, whatever score the model has for it."""
_TEXT = (PieceType.NORMAL, PieceType.USER_DEFINED)
_LESS_THAN = ("＜", "\U000f003c")
_ITSELF, _STANDS_FOR = "\ufdd0", "\ufdd1"
_UNKNOWN = "\ufdd0"


def sentencepiece_files(vocabulary: SentencePieceVocabulary, framing: Framing) -> dict[str, bytes]:
    """Return the files by name.

    Raises:
      DataError: if the model does what no tokenizer.json can say.
    """
    model = read_model(vocabulary.text_model, vocabulary.path)
    _check_type(model, vocabulary.path)
    names = special_names(vocabulary)
    less_than = _less_than(model)
    scored = _scored_names(model, names, vocabulary.size, less_than)
    added = added_tokens(vocabulary, framing, strip=True)
    sentinels = {name: index for index, name in names.items() if name not in NAMES.values()}
    decoders = [
        *([{"type": "ByteFallback"}] if model.byte_fallback else []),
        *([replace(less_than, "<")] if less_than != "<" else []),
        {
            "type": "Metaspace",
            "replacement": _SPACE,
            "prepend_scheme": "always" if model.dummy_prefix else "never",
            "split": False,
        },
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model, less_than, vocabulary.path)},
        "pre_tokenizer": _pre_tokenizer(model, less_than),
        "post_processor": framing.post_processor(names),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _unigram(model, scored, vocabulary)
        if model.type is ModelType.UNIGRAM
        else bpe(
            model,
            [name for name, _ in scored],
            unk=scored[vocabulary.special_id("unk", needed_for="a tokenizer.json")][0],
            less_than=less_than,
            path=vocabulary.path,
        ),
    }
    template, said = kept(vocabulary.chat_templates)
    num_added = 0 if vocabulary.has_own_sentinels else vocabulary.extra_ids
    config = config_json(added, framing, extra_ids=num_added, **said)
    return {
        "spiece.model": vocabulary.model_bytes,
        **template,
        TOKENIZER: encoded(tokenizer),
        CONFIG: encoded(config),
        # llama.cpp's converter knows the sentinels from nowhere else.
        "added_tokens.json": encoded(dict(sorted(sentinels.items(), key=lambda item: item[1]))),
    }


def _check_type(model: Model, path: StoragePath) -> None:
    """Check that a model cuts texts as some model of ``tokenizers`` does.

    Raises:
      DataError: for words, of which SentencePiece makes several unknown ones one token.
    """
    if model.type is ModelType.WORD:
        raise DataError(
            f"{path} has model_type=word, and no tokenizer.json cuts as it does; train one of unigram "
            "(`t5lite prepare` does), bpe or char"
        )


def _unigram(
    model: Model, scored: list[tuple[str, float]], vocabulary: SentencePieceVocabulary
) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": vocabulary.unk_id,
        "byte_fallback": model.byte_fallback,
        "vocab": scored,
    }


def _pre_tokenizer(model: Model, less_than: str) -> dict[str, Any] | None:
    """Return what cuts the user-defined symbols out; a unigram's search takes them as pieces."""
    cut_out = symbols(model)
    if model.type is ModelType.UNIGRAM or not cut_out:
        return None
    # The names of bytes are what stands for a character that has to be its bytes: no other < is left.
    names = [f"<0x{byte:02X}>" for byte in range(256)] if model.byte_fallback else []
    return isolating([*(symbol.replace("<", less_than) for symbol in cut_out), *names])


def _normalizers(model: Model, less_than: str, path: StoragePath) -> list[dict[str, Any]]:
    """Return what happens to a text before it is cut, step by step as in SentencePiece's normalizer."""
    cut_out = symbols(model)
    protected: list[str] = []
    steps: list[dict[str, Any]] = []
    if model.dummy_prefix and not model.strips_spaces:
        steps.append({"type": "Prepend", "prepend": " "})
    if model.charsmap:
        protected = _protected(charsmap.read_rules(model.charsmap), cut_out, path)
        others = tuple(symbol for symbol in cut_out if symbol not in protected)
        try:
            steps += charsmap.normalizers(model.charsmap, tuple(protected), others)
        except DataError as error:
            raise DataError(f"{path} cannot be exported, by reason of its normalisation: {error}") from error
    if model.strips_spaces:
        steps += [replace_all(r"\A +", ""), replace_all(" +", _SPACE), replace_all(rf"{_SPACE}+\z", "")]
        steps += [{"type": "Prepend", "prepend": _SPACE}] if model.dummy_prefix else []
    else:
        steps.append(replace(" ", _SPACE))
    steps += [replace(charsmap.placeholder(i), symbol) for i, symbol in enumerate(protected)]
    return steps + _without_less_than(model, less_than, path)


def _protected(rules: Mapping[str, str], cut_out: Iterable[str], path: StoragePath) -> list[str]:
    """Return the user-defined symbols that the character normalisation would change.

    Raises:
      DataError: for a symbol that cannot be kept from it.
    """
    cut_out = list(cut_out)
    continuing = {char for key in rules for char in key[1:]}
    protected = [symbol for symbol in cut_out if charsmap.apply(rules, symbol) != symbol]
    for symbol in protected:
        in_another = symbol in continuing or any(symbol in other for other in cut_out if other != symbol)
        if len(symbol) > 1 or in_another:
            raise DataError(
                f"{path} cannot be exported: its user-defined symbol {symbol!a} would be normalised to "
                f"{charsmap.apply(rules, symbol)!a}; only single characters that no other symbol has can be "
                "kept from it"
            )
    return protected


def _less_than(model: Model) -> str:
    """Return what is written for ``<`` in pieces and in text.

    A Unigram of a tokenizer.json finds every name of its vocabulary in a text, also ``</s>`` and ``<0x0A>``,
    which SentencePiece never does; a BPE does where whole words are looked up. All of these have a ``<``;
    what is text has another character for it.
    """
    if model.type is not ModelType.UNIGRAM and not symbols(model):
        return "<"
    rules = charsmap.read_rules(model.charsmap) if model.charsmap else {}
    first, other = _LESS_THAN
    kept = rules.get(first, first) == first or any(first in value for value in rules.values())
    return other if kept or any(first in piece.text for piece in model.pieces) else first


def _without_less_than(model: Model, less_than: str, path: StoragePath) -> list[dict[str, Any]]:
    """Return what replaces every ``<`` of a text, at the end of its normalisation."""
    if less_than == "<":
        return []
    texts = [piece.text for piece in model.pieces if piece.type in _TEXT]
    written = less_than
    if model.byte_fallback and "<" not in texts:
        written = _bytes("<")
        if any("<" in text for text in texts):
            raise DataError(f"{path} cannot be exported: it has pieces with < in them and none of < alone")
    if less_than == _LESS_THAN[0]:
        return [replace("<", written)]
    if any(less_than in text for text in texts):
        raise DataError(f"{path} cannot be exported: it has pieces of the private character {less_than!a}")
    # The character may be in a text itself, where SentencePiece does not know it.
    own, new = less_than + _ITSELF, less_than + _STANDS_FOR
    unknown = _bytes(less_than) if model.byte_fallback else _UNKNOWN
    return [replace(less_than, own), replace("<", new), replace(own, unknown), replace(new, written)]


def _bytes(text: str) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in text.encode())


def _scored_names(
    model: Model, names: Mapping[int, str], size: int, less_than: str
) -> list[tuple[str, float]]:
    """Return (name, score) by id; what has ``<`` in its name is never found in a text."""
    scored: list[tuple[str, float]] = []
    taken = {*names.values(), *(piece.text for piece in model.pieces if piece.type in _TEXT)}
    for index in range(size):
        piece = model.pieces[index] if index < len(model.pieces) else None
        if index in names or piece is None:
            scored.append((names[index], 0.0))
        elif piece.type in _TEXT:
            score = piece.score if piece.type is PieceType.NORMAL else _USER_DEFINED_SCORE
            scored.append((piece.text.replace("<", less_than), score))
        else:
            name = piece.text if "<" in piece.text else f"<{piece.text}>"
            while name in taken:
                name = f"<{name}>"
            taken.add(name)
            scored.append((name, 0.0))
    return scored

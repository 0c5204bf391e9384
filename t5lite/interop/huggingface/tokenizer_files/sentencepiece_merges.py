"""SentencePiece's BPE as that of ``tokenizers``, in which what a merge makes is told by its two parts.

SentencePiece merges, of all neighbours that make a piece, those with the best piece, the leftmost first.
``tokenizers`` ranks pairs; so every way of making a piece is a pair, in the order of the pieces' scores. A
model of characters is a BPE without merges. User-defined symbols, which nothing merges with, become words of
their own, and words that are pieces are taken whole (``ignore_merges``).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath
from t5lite.interop.huggingface.tokenizer_files.charsmap import literal
from t5lite.interop.huggingface.tokenizer_files.sentencepiece_model import Model, ModelType, PieceType

Pair = tuple[str, str]


def symbols(model: Model) -> list[str]:
    """Return the user-defined symbols, which are cut out of a text before anything else."""
    return [piece.text for piece in model.pieces if piece.type is PieceType.USER_DEFINED]


def bpe(model: Model, names: Sequence[str], *, unk: str, less_than: str, path: StoragePath) -> dict[str, Any]:
    """Return the model of a tokenizer.json.

    Args:
      model: a BPE, or one of characters.
      names: of all tokens, by id.
      unk: the name of the unknown token.
      less_than: what ``<`` is in the names of pieces.
      path: of the model, for messages.

    Raises:
      DataError: if it cuts some texts in a way that no pairs say.
    """
    pairs = merges(model, path)
    whole = bool(symbols(model))
    if whole and (others := _not_made(model, pairs)):
        raise DataError(
            f"{path} cannot be exported: beside user-defined symbols it has {len(others):,} pieces that its "
            f"merges do not make of their characters, such as {others[0]!a}; train it without one of the two"
        )
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": whole,
        "vocab": {name: index for index, name in enumerate(names)},
        "merges": [f"{a} {b}".replace("<", less_than) for a, b in pairs],
    }


def isolating(strings: Sequence[str]) -> dict[str, Any]:
    """Return the pre-tokenizer that makes words of some strings, from left to right the longest first."""
    pattern = "|".join(map(literal, sorted(strings, key=len, reverse=True)))
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def merges(model: Model, path: StoragePath) -> list[Pair]:
    """Return the pairs that a BPE merges, the first to be merged first; none of a model of characters.

    Raises:
      DataError: if the pieces say no order, or are made of what is no piece.
    """
    if model.type is not ModelType.BPE:
        return []
    unused = sum(piece.type is PieceType.UNUSED for piece in model.pieces)
    if unused:
        raise DataError(
            f"{path} cannot be exported: {unused:,} pieces of its BPE are marked as unused, which no "
            "tokenizer.json can say; give the model as it was trained"
        )
    scores = {piece.text: piece.score for piece in model.pieces if piece.type is PieceType.NORMAL}
    made = [text for text in scores if len(text) > 1]
    characters = {char for text in made for char in text} - scores.keys() - set(symbols(model))
    if characters:
        raise DataError(
            f"{path} cannot be exported: its pieces have {len(characters):,} characters that are no pieces, "
            f"such as {min(characters)!a}; give the model as it was trained"
        )
    if len({scores[text] for text in made}) < len(made):
        raise DataError(
            f"{path} cannot be exported: several pieces of its BPE have the same score, and no "
            "tokenizer.json can say which are merged first; give the model as it was trained"
        )
    made.sort(key=lambda text: -scores[text])
    return [pair for text in made for pair in _ways(text, scores)]


def _ways(text: str, pieces: Mapping[str, float]) -> list[Pair]:
    """Return the pairs that make a piece, in the order in which SentencePiece takes them if they overlap.

    Two ways overlap where a text goes on with the period of its first part: the left pair counts then.
    """
    pairs = ((text[:size], text[size:]) for size in range(len(text) - 1, 0, -1))
    found = [(a, b) for a, b in pairs if a in pieces and b in pieces]
    return sorted(found, key=lambda pair: not text.startswith(pair[1]))


def _not_made(model: Model, pairs: Sequence[Pair]) -> list[str]:
    """Return the pieces of several characters that merging their characters does not make."""
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    texts = (piece.text for piece in model.pieces if piece.type is PieceType.NORMAL)
    return [text for text in texts if len(text) > 1 and len(_merged(list(text), ranks)) > 1]


def _merged(parts: list[str], ranks: Mapping[Pair, int]) -> list[str]:
    while ranked := list(_ranked(parts, ranks)):
        _, place = min(ranked)
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return parts


def _ranked(parts: Sequence[str], ranks: Mapping[Pair, int]) -> Iterator[tuple[int, int]]:
    for place, pair in enumerate(pairwise(parts)):
        if pair in ranks:
            yield ranks[pair], place

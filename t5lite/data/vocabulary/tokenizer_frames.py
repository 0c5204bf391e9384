"""What a tokenizer.json puts around a text, and between two, found out by encoding one."""

from itertools import chain
from typing import TYPE_CHECKING

from t5lite.data.vocabulary.base import Frame

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def frame(tokenizer: "Tokenizer") -> Frame | None:
    """Return the ids that the post-processor puts around a single text."""
    encoding = tokenizer.encode(_probe(tokenizer), add_special_tokens=True)
    added = encoding.special_tokens_mask
    if 0 not in added or 1 not in added:
        return None
    start, end = added.index(0), len(added) - added[::-1].index(0)
    return Frame(tuple(encoding.ids[:start]), tuple(encoding.ids[end:]))


def separators(tokenizer: "Tokenizer") -> tuple[int, ...]:
    """Return the ids that the post-processor puts between two texts."""
    text = _probe(tokenizer)
    encoding = tokenizer.encode(text, text, add_special_tokens=True)
    sides = encoding.sequence_ids
    if 0 not in sides or 1 not in sides:
        return ()
    return tuple(encoding.ids[len(sides) - sides[::-1].index(0) : sides.index(1)])


def _probe(tokenizer: "Tokenizer") -> str:
    """Return a text that has ids: which does not matter, but a vocabulary of DNA drops most letters."""
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    pieces = (name for name in tokenizer.get_vocab(with_added_tokens=False) if name not in added)
    texts = chain("a", pieces)
    return next((text for text in texts if tokenizer.encode(text, add_special_tokens=False).ids), "a")

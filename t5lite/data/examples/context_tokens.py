"""A context as tokens that know where in it they stand, and the windows that a row has room for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class ContextTokens:
    """A text, its tokens, and where each of them begins and ends in it, in characters.

    A token ends where the next place is at which one begins, so that all of the text belongs to some token:
    an accent that the vocabulary drops to the letter before it. Tokens that begin at one place, as the bytes
    of a character do, all have the whole of it.
    """

    text: str
    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, text: str, vocabulary: Vocabulary) -> "ContextTokens":
        """Return the tokens of a text."""
        ids, begins = vocabulary.encode_with_offsets(text)
        places = np.append(np.unique(begins), len(text))
        return cls(
            text, ids, begins, places[np.searchsorted(places, begins, side="right").clip(max=len(places) - 1)]
        )

    def covering(self, begin: int, end: int) -> tuple[int, int] | None:
        """Return the first and the last token that have characters ``begin`` to ``end``; None: none has."""
        first = int(np.searchsorted(self.ends, begin, side="right"))
        last = int(np.searchsorted(self.begins, end, side="left")) - 1
        return (first, last) if first <= last else None

    def between(self, first: int, last: int) -> str:
        """Return what the text has from one token to another, without the white space around it."""
        return self.text[self.begins[first] : self.ends[last]].strip()


def windows(num_tokens: int, *, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Yield where windows of a context begin and end, in tokens: the first that reaches its end is the last.

    Args:
      num_tokens: of the context.
      room: tokens of a window, at least 1.
      stride: tokens from the beginning of one to that of the next, in ``1..room``.
    """
    first = 0
    while first + room < num_tokens:
        yield first, first + room
        first += stride
    yield first, num_tokens

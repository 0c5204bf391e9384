"""Text as it is written, token by token: what is shown of it is never taken back.

What a character or a stop string may still become part of waits: half a character is never shown, nor the
beginning of what ends the text and is no part of it; nor bytes that others may make no characters.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What decoding makes of the first bytes of a character that has more."""


class Decodes(Protocol):
    """What is asked of a vocabulary."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of ids."""
        ...

    def num_open(self, ids: Sequence[int], /) -> int:
        """Return of how many ids at the end the text may change when more follow."""
        ...


class StreamedText:
    """Turns the ids of one text, as they come, into pieces that together are the text.

    The pieces do not depend on how the text is cut into tokens, but for where one ends and the next begins.

    Args:
      vocabulary: decodes ids.
      stops: strings of which the first to be complete ends the text, and is left out with what follows; of
        two that are complete at the same character, the longer.
    """

    def __init__(self, vocabulary: Decodes, stops: Sequence[str] = ()):
        self._vocabulary, self._stops = vocabulary, tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._shown = ""
        self.num_decoded = 0
        """Characters that the ids so far are, shown or not."""
        self.stopped = False
        """Whether a stop string has ended it."""

    @property
    def num_tokens(self) -> int:
        """Ids so far, until it is stopped."""
        return len(self._ids)

    @property
    def text(self) -> str:
        """All pieces so far."""
        return self._shown

    def add(self, token: int) -> str:
        """Return what can be shown now that was not before, maybe nothing; nothing once it is stopped."""
        if self.stopped:
            return ""
        self._ids.append(token)
        settled = self._ids[: len(self._ids) - self._vocabulary.num_open(self._ids)]
        text = self._vocabulary.decode(settled).rstrip(_UNFINISHED)
        self.num_decoded = len(text)
        return self._show(text, end=len(text) - _begun(text, self._stops))

    def finish(self) -> str:
        """Return what has waited, now that nothing follows."""
        if self.stopped:
            return ""
        text = self._vocabulary.decode(self._ids)
        return self._show(text, end=len(text))

    def _show(self, text: str, *, end: int) -> str:
        stop = first_stop(text, self._stops)
        if stop is not None:
            self.stopped, end = True, stop
        if end <= len(self._shown):
            return ""
        piece, self._shown = text[len(self._shown) : end], text[:end]
        return piece


class Stopped(NamedTuple):
    """A text that a stop string ends."""

    text: str
    """Before it."""
    num_tokens: int
    """With which it was complete."""


def stopped(vocabulary: Decodes, ids: Sequence[int], stops: Sequence[str], *, ended: bool) -> Stopped | None:
    """Return the text of ids as ``StreamedText`` ends it; None where no stop string is complete in it.

    Args:
      vocabulary: decodes ids.
      ids: of the text.
      stops: as of ``StreamedText``.
      ended: whether nothing follows.
    """
    if first_stop(vocabulary.decode(ids), stops) is None:
        return None
    text = StreamedText(vocabulary, stops)
    for number, token in enumerate(ids, 1):
        text.add(token)
        if text.stopped:
            return Stopped(text.text, number)
    if ended:
        text.finish()
    return Stopped(text.text, len(ids)) if text.stopped else None


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where the stop string begins that is complete first; None where there is none.

    Of two that are complete at the same character the longer counts.
    """
    found = [(text.find(stop) + len(stop), -len(stop)) for stop in stops if stop and stop in text]
    return sum(min(found)) if found else None


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:size]):
                longest = size
                break
    return longest

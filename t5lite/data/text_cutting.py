"""Cutting a long text into pieces: at white space where there is some, never inside a character."""

import re
import unicodedata
from collections.abc import Iterator

_SPACE = re.compile(r"\s(?=\S*\Z)")
_JOINER = "\N{ZERO WIDTH JOINER}"


def cut_text(text: str, max_characters: int) -> Iterator[str]:
    """Yield pieces of at most ``max_characters`` that are ``text`` when joined.

    A piece that does not begin the text begins with white space. Where a stretch has none, it is cut between
    characters as a reader sees them: a letter keeps its combining marks, a syllable of Hangul its parts, an
    emoji what it is joined with, unless there are ``max_characters`` of such parts in a row.

    >>> list(cut_text("one two three", 8))
    ['one two', ' three']
    """
    start = 0
    while len(text) - start > max_characters:
        stop = _last_cut(text, start, start + max_characters)
        yield text[start:stop]
        start = stop
    yield text[start:]


def _last_cut(text: str, start: int, limit: int) -> int:
    """Return the last place in ``(start, limit]`` where the text may be cut."""
    if found := _SPACE.search(text[start + 1 : limit + 1]):
        return start + 1 + found.start()
    return next((place for place in range(limit, start, -1) if not _joined(text, place)), limit)


def _joined(text: str, place: int) -> bool:
    """Return whether what stands before and after ``place`` is part of one character."""
    after = text[place]
    return (
        unicodedata.category(after).startswith("M")
        or "\N{HANGUL JUNGSEONG FILLER}" <= after <= "\N{HANGUL JONGSEONG SSANGNIEUN}"
        or _JOINER in (text[place - 1], after)
    )

"""Spans of words, said by a tag a word: BIO, as CoNLL's files have it."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from t5lite.core.errors import ConfigError, suggestion
from t5lite.tasks.left_out import UnevenError

ENTITY_SEPARATOR, SPAN_SEPARATOR = "; ", ": "


class Span(NamedTuple):
    """Words ``start`` to ``end`` (exclusive) of a kind."""

    kind: str
    start: int
    end: int


def check_words(value: Any) -> list[str]:
    """Return the words that a column holds: a list of texts, or a text that spaces separate.

    Raises:
      ValueError: if it holds something else, or no word.
    """
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"words are a list of texts, or a text with spaces between them, not {value!r:.60}")
    if not words:
        raise ValueError("there are no words")
    return words


def spans(words: Any, tags: Any, *, tag_names: Sequence[str] = ()) -> list[Span]:
    """Return the spans that BIO tags say, in order.

    ``I-X`` without an ``X`` before it begins a span, as in CoNLL's IOB1 and in seqeval's reading of it.

    Args:
      words: as of ``check_words``.
      tags: as many, a list or separated by spaces; numbers are of ``tag_names``.
      tag_names: the tags by their numbers.

    Raises:
      UnevenError: if there are not as many.
      ValueError: if they are no tags.
    """
    words = check_words(words)
    tags = tags.split() if isinstance(tags, str) else tags
    if not isinstance(tags, list):
        raise ValueError(f"there are {len(words)} words and {tags!r} tags; give one tag a word")
    if len(tags) != len(words):
        raise UnevenError
    return list(_spans(tag_of(tag, tag_names) for tag in tags))


def tag_of(tag: Any, tag_names: Sequence[str]) -> str:
    """Return a tag of BIO, given by itself or by its number.

    Raises:
      ValueError: if it is none.
    """
    if isinstance(tag, str) and _is_bio(tag):
        return tag
    number = str(tag)
    if number.isdecimal() and int(number) < len(tag_names):
        return tag_names[int(number)]
    if not tag_names:
        raise ValueError(
            f"the tag {tag!r} is none of BIO; write O, B-KIND or I-KIND (numbers need tag_names)"
        )
    raise ValueError(f"unknown tag {tag!r}{suggestion(number, tag_names)}, or their numbers")


def check_tag_names(tag_names: Sequence[str]) -> None:
    """Check that the tags that numbers stand for are of BIO.

    Raises:
      ConfigError: naming the first that is not.
    """
    for number, name in enumerate(tag_names):
        if not _is_bio(name):
            raise ConfigError(
                f"tag_names[{number}]={name!r} is none of BIO; write O, B-KIND or I-KIND, and others, such "
                "as parts of speech, as B-NOUN"
            )


def _is_bio(tag: str) -> bool:
    return tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2)


def _spans(tags: Iterable[str]) -> Iterable[Span]:
    kind, start, place = "", 0, 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, tag_kind = tag.partition("-")
        if kind and (prefix != "I" or tag_kind != kind):
            yield Span(kind, start, place)
            kind = ""
        if prefix != "O" and not kind:
            kind, start = tag_kind, place


def bracketed_roles(words: Sequence[str], roles: Iterable[Span]) -> str:
    """Return the words with each span in brackets, its kind before it."""
    texts, place = [], 0
    for kind, start, end in roles:
        texts += [*words[place:start], f"[{kind} {' '.join(words[start:end])}]"]
        place = end
    return " ".join([*texts, *words[place:]])

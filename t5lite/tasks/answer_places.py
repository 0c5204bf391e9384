"""Where answers stand in a context, in SQuAD's form: texts, and the character at which each starts."""

from collections.abc import Sequence
from typing import Any


def answer_places(context: str, texts: Sequence[str], starts: Sequence[Any]) -> list[tuple[int, int]] | None:
    """Return where each answer begins and ends in the context, each once; None if one is not there.

    White space around an answer is no part of it, and one of white space alone is none.

    Args:
      context: in whose characters places are counted, from 0.
      texts: of the answers.
      starts: of each, a number or its digits.

    Raises:
      ValueError: if there is not one start for each answer, or it is no number.
    """
    if len(texts) != len(starts):
        raise ValueError(f"{len(texts)} answers have {len(starts)} places; give each where it starts")
    places = []
    for text, given in zip(texts, starts, strict=True):
        if not text.strip():
            continue
        start = _whole_number(given)
        if start < 0 or context[start : start + len(text)] != text:
            return None
        begin = start + len(text) - len(text.lstrip())
        places.append((begin, begin + len(text.strip())))
    return list(dict.fromkeys(places))


def _whole_number(value: Any) -> int:
    try:
        number = float(value)
        if isinstance(value, bool) or number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{value!r:.40} is no number of a character at which an answer starts") from None
    return int(number)

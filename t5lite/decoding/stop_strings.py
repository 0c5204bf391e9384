"""Strings at which a text ends."""

from collections.abc import Sequence


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where the first of the stop strings begins, which is no part of the text; None without any."""
    return min((text.index(stop) for stop in stops if stop in text), default=None)

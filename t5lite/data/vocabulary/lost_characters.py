"""Characters that a vocabulary without UNK drops: no token stands for them, and nothing is left of them."""

from collections.abc import Callable
from functools import cached_property

_RARE = "\N{CUNEIFORM SIGN A}"
"""A letter for which only a vocabulary that can spell all has ids."""


class LostCharacters:
    """Counts them, each looked at by itself and once.

    Args:
      is_lost: whether a character leaves no trace.
    """

    def __init__(self, is_lost: Callable[[str], bool]) -> None:
        self._is_lost = is_lost
        self._known: dict[str, bool] = {}

    @cached_property
    def are_possible(self) -> bool:
        """Whether a letter that only a vocabulary that spells all has ids for leaves no trace."""
        try:
            return self._is_lost(_RARE)
        except Exception:  # the library raises plain Exceptions; then a text with such a letter is refused
            return False

    def count(self, text: str) -> int:
        """Return how many characters of ``text`` are lost."""
        if not self.are_possible:
            return 0
        distinct = set(text)
        for char in distinct - self._known.keys():
            self._known[char] = self._is_lost(char)
        return sum(text.count(char) for char in distinct if self._known[char])

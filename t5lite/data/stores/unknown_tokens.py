"""How much of a text a vocabulary has no pieces for: counted where tokens are written, said with a remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from t5lite.data.vocabulary import Vocabulary

WARNED_TOKENS = 0.01
"""Share of unknown tokens above which preparing warns."""
WARNED_PAIRS = 0.05
"""Share of pairs with an unknown token above which preparing warns."""
_FILES_SAID = 3
_RARE = "\N{CUNEIFORM SIGN A}"
"""A letter for which only a vocabulary that can spell all has ids."""


@dataclass(frozen=True)
class UnknownTokens:
    """Unknown tokens of a store, or of one side of its pairs. Several characters in a row may be one."""

    tokens: int = 0
    """Tokens in all."""
    unknown: int = 0
    """Of those, unknown ones."""
    documents: int = 0
    """Documents, or pairs."""
    with_unknown: int = 0
    """Of those, with an unknown token."""

    @property
    def share(self) -> float:
        """Share of the tokens that are unknown."""
        return self.unknown / max(self.tokens, 1)

    @property
    def share_with_unknown(self) -> float:
        """Share of the documents or pairs that have an unknown token."""
        return self.with_unknown / max(self.documents, 1)

    def plus(self, lengths: np.ndarray, unknown: np.ndarray) -> "UnknownTokens":
        """Add documents, of so many tokens and unknown tokens each."""
        return self.joined(
            UnknownTokens(
                int(lengths.sum()), int(unknown.sum()), len(lengths), int(np.count_nonzero(unknown))
            )
        )

    def joined(self, other: "UnknownTokens") -> "UnknownTokens":
        """Return the counts of both."""
        return UnknownTokens(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def unknown_of_each(documents: Sequence[np.ndarray], unk_id: int | None) -> np.ndarray:
    """Return how many unknown tokens each document has, int64; none without an UNK."""
    if unk_id is None:
        return np.zeros(len(documents), np.int64)
    return np.array([np.count_nonzero(tokens == unk_id) for tokens in documents], np.int64)


def loses_uncounted(vocabulary: Vocabulary) -> bool:
    """Whether a vocabulary has no UNK, and characters that it cannot spell are lost."""
    if vocabulary.unk_id is not None:
        return False
    try:
        ids = vocabulary.encode(_RARE)
    except Exception:  # the library raises plain Exceptions; then a text with such a character is refused
        return False
    return _RARE not in vocabulary.decode(ids)


def unknown_line(
    stores: Mapping[str, Mapping[str, Any]],
    unit: str,
    worst_files: Mapping[str, Mapping[str, int]],
    *,
    uncounted: bool,
) -> str:
    """Return a line on the unknown tokens of all stores of a report.

    Args:
      stores: of a report.
      unit: what their examples are called.
      worst_files: ``tokens`` and ``unknown`` of the files with the highest shares, if they are known.
      uncounted: as ``loses_uncounted`` says.
    """
    if uncounted:
        return "unknown tokens: not counted; the vocabulary has none, and loses characters it cannot spell"
    sides = _sides(stores)
    if not any(each.unknown for each in sides.values()):
        return "unknown tokens: none"
    parts = [
        f"{f'{name} ' if len(sides) > 1 else ''}{each.share:.2%} ({each.unknown:,} "
        f"of {each.tokens:,}, in {each.share_with_unknown:.1%} of the {unit})"
        for name, each in sides.items()
    ]
    files = ", ".join(
        f"{path} ({counts['unknown'] / counts['tokens']:.1%})"
        for path, counts in list(worst_files.items())[:_FILES_SAID]
    )
    return f"unknown tokens: {', '.join(parts)}{f'; most in {files}' if files else ''}"


def unknown_warning(stores: Mapping[str, Mapping[str, Any]], *, vocabulary: str | None) -> str | None:
    """Return what to say, with the remedy, where more is unknown than ``WARNED_TOKENS`` or ``WARNED_PAIRS``.

    Args:
      stores: of a report.
      vocabulary: that was given; None for one that was trained.
    """
    sides = _sides(stores)
    of_pairs = max(each.share_with_unknown for each in sides.values()) if len(sides) > 1 else 0.0
    if max(each.share for each in sides.values()) <= WARNED_TOKENS and of_pairs <= WARNED_PAIRS:
        return None
    remedy = (
        "give every character a piece by --character-coverage 1"
        if vocabulary is None
        else "leave --vocabulary out, so that one is trained on this text"
    )
    return (
        f"warning: the vocabulary{f' {vocabulary}' if vocabulary else ''} cannot spell this text, and what "
        f"is unknown cannot be learnt or written; {remedy}, or take --vocabulary bytes"
    )


def _sides(stores: Mapping[str, Mapping[str, Any]]) -> dict[str, UnknownTokens]:
    """Add up the counts of all stores, by side."""
    total: dict[str, UnknownTokens] = {}
    for store in stores.values():
        for name, counts in store["unknown"].items():
            total[name] = total.get(name, UnknownTokens()).joined(UnknownTokens(**counts))
    return total

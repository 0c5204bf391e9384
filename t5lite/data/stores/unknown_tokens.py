"""How much of a text a vocabulary has no pieces for: counted where tokens are written, said with a remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from t5lite.data.vocabulary import Vocabulary

WARNED_TOKENS = 0.01
"""Share of unknown tokens, or of lost characters, above which preparing warns."""
WARNED_PAIRS = 0.05
"""Share of pairs with an unknown token or a lost character above which preparing warns."""
_FILES_SAID = 3
_ALWAYS_COUNTED = ("tokens", "unknown", "documents", "with_unknown")


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
    characters: int = 0
    """Characters in all, where a vocabulary without an UNK loses some; white space aside."""
    lost: int = 0
    """Of those, lost: no token stands for them."""
    with_lost: int = 0
    """Documents, or pairs, with a lost character."""

    @property
    def share(self) -> float:
        """Share of the tokens that are unknown."""
        return self.unknown / max(self.tokens, 1)

    @property
    def share_with_unknown(self) -> float:
        """Share of the documents or pairs that have an unknown token."""
        return self.with_unknown / max(self.documents, 1)

    @property
    def share_lost(self) -> float:
        """Share of the characters that are lost."""
        return self.lost / max(self.characters, 1)

    @property
    def share_with_lost(self) -> float:
        """Share of the documents or pairs that lack a character."""
        return self.with_lost / max(self.documents, 1)

    def plus(self, lengths: np.ndarray, unknown: np.ndarray) -> "UnknownTokens":
        """Add documents, of so many tokens and unknown tokens each."""
        return self.joined(
            UnknownTokens(
                int(lengths.sum()), int(unknown.sum()), len(lengths), int(np.count_nonzero(unknown))
            )
        )

    def to_json(self) -> dict[str, int]:
        """Return the counts by name; of lost characters only where they were counted."""
        counts = asdict(self)
        return counts if self.characters else {name: counts[name] for name in _ALWAYS_COUNTED}

    def joined(self, other: "UnknownTokens") -> "UnknownTokens":
        """Return the counts of both."""
        return UnknownTokens(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def unknown_of_each(documents: Sequence[np.ndarray], unk_id: int | None) -> np.ndarray:
    """Return how many unknown tokens each document has, int64; none without an UNK."""
    if unk_id is None:
        return np.zeros(len(documents), np.int64)
    return np.array([np.count_nonzero(tokens == unk_id) for tokens in documents], np.int64)


def lost_characters(texts: Sequence[str], vocabulary: Vocabulary) -> UnknownTokens:
    """Return how many characters of texts no token stands for; nothing where a vocabulary loses none."""
    if not vocabulary.loses_characters:
        return UnknownTokens()
    lost = [vocabulary.num_lost(text) for text in texts]
    characters = sum(len(text) - sum(map(str.isspace, text)) for text in texts)
    return UnknownTokens(characters=characters, lost=sum(lost), with_lost=sum(map(bool, lost)))


def unknown_line(
    stores: Mapping[str, Mapping[str, Any]],
    unit: str,
    worst_files: Mapping[str, Mapping[str, int]],
) -> str:
    """Return a line on the unknown tokens of all stores of a report.

    Args:
      stores: of a report.
      unit: what their examples are called.
      worst_files: ``tokens`` and ``unknown`` of the files with the highest shares, if they are known.
    """
    sides = _sides(stores)
    if any(each.lost for each in sides.values()):
        return f"lost characters: {', '.join(_lost(sides, unit))}; the vocabulary has no UNK for them"
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


def _lost(sides: Mapping[str, UnknownTokens], unit: str) -> list[str]:
    return [
        f"{f'{name} ' if len(sides) > 1 else ''}{each.share_lost:.2%} ({each.lost:,} of "
        f"{each.characters:,}, in {each.share_with_lost:.1%} of the {unit})"
        for name, each in sides.items()
    ]


def unknown_warning(stores: Mapping[str, Mapping[str, Any]], *, vocabulary: str | None) -> str | None:
    """Return what to say, with the remedy, where more than ``WARNED_TOKENS`` or ``WARNED_PAIRS`` is amiss.

    Args:
      stores: of a report.
      vocabulary: that was given; None for one that was trained.
    """
    sides = _sides(stores)
    of_pairs = max(max(each.share_with_unknown, each.share_with_lost) for each in sides.values())
    of_text = max(max(each.share, each.share_lost) for each in sides.values())
    if of_text <= WARNED_TOKENS and (len(sides) == 1 or of_pairs <= WARNED_PAIRS):
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

"""Targets that teach nothing: that a vocabulary cannot tell apart, or that are the input again."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from t5lite.core.errors import ConfigError, DataError

_MAX_SPELT = 10_000
"""Distinct targets whose texts are kept, to name those that collapse."""
_MAX_LISTED = 8
_SHOWN_CHARACTERS = 40
_FEW_TEXTS, _PAIRS_EACH = 1000, 4
"""So few distinct targets, of so many pairs each on average, are classes."""


class TargetTexts:
    """Counts distinct target texts, and those whose tokens another text has as well.

    White space and the form in which Unicode composes a character do not make a difference. Memory is 16
    bytes a pair.
    """

    def __init__(self):
        self._hashes: list[np.ndarray] = []
        self._spelt: dict[int, dict[int, str]] = {}

    def add(self, texts: Sequence[str], encoded: Sequence[np.ndarray]) -> None:
        """Take target texts with their tokens."""
        hashes = np.empty((len(texts), 2), np.int64)
        for row, (text, tokens) in enumerate(zip(texts, encoded, strict=True)):
            same = self.same(text)
            hashes[row] = key, text_key = hash(tokens.tobytes()), hash(same)
            if key in self._spelt or len(self._spelt) < _MAX_SPELT:
                spelt = self._spelt.setdefault(key, {})
                if len(spelt) < _MAX_LISTED:
                    spelt.setdefault(text_key, same[:_SHOWN_CHARACTERS])
        self._hashes.append(hashes)

    @staticmethod
    def same(text: str) -> str:
        """Return what texts have in common that are one target."""
        return unicodedata.normalize("NFC", " ".join(text.split()))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Pairs, distinct texts, and how many of these have the tokens of another."""
        hashes = np.concatenate([np.empty((0, 2), np.int64), *self._hashes])
        hashes = hashes[np.lexsort((hashes[:, 1], hashes[:, 0]))]
        new = np.ones(len(hashes), bool)
        new[1:] = (hashes[1:] != hashes[:-1]).any(axis=1)
        _, texts_of_tokens = np.unique(hashes[new, 0], return_counts=True)
        return len(hashes), int(new.sum()), int(texts_of_tokens[texts_of_tokens > 1].sum())

    @property
    def collapsed(self) -> list[list[str]]:
        """How texts begin that have the same tokens, the first such groups."""
        return [list(texts.values()) for texts in self._spelt.values() if len(texts) > 1][:_MAX_LISTED]

    def check_classes(self) -> None:
        """Check that the vocabulary tells the targets apart, if they are so few that they must be classes.

        Raises:
          DataError: naming those that collapse.
        """
        pairs, distinct, collapsed = self.counts
        if collapsed and distinct <= _FEW_TEXTS and distinct * _PAIRS_EACH <= pairs:
            raise DataError(f"the vocabulary {indistinguishable(self.collapsed)}")

    def remark(self) -> str | None:
        """Return what to say of targets that collapse, or are all one."""
        pairs, distinct, collapsed = self.counts
        if collapsed:
            return (
                f"warning: {collapsed:,} of {distinct:,} distinct targets have the tokens of another: the "
                f"vocabulary {indistinguishable(self.collapsed)}"
            )
        if distinct == 1 and pairs > 1:
            return f"warning: all {pairs:,} pairs have the same target: there is nothing to learn from them"
        return None


class CopiedInputs:
    """Counts pairs whose target is their input, as where both are read from one column."""

    def __init__(self):
        self._pairs = self._copies = 0

    @staticmethod
    def check_fields(inputs_field: str, targets_field: str) -> None:
        """Check that two fields are named.

        Raises:
          ConfigError: if they are one.
        """
        if inputs_field == targets_field:
            raise ConfigError(
                f"inputs_field and targets_field are both {inputs_field!r}: every target would be its "
                "input; name two fields"
            )

    def counted(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield the pairs, which are counted anew: they may be read more than once."""
        self._pairs = self._copies = 0
        for inputs, targets in pairs:
            if words := inputs.split():  # else it is dropped
                self._pairs += 1
                self._copies += words == targets.split()
            yield inputs, targets

    def remark(self) -> str | None:
        """Return what to say where most pairs are such."""
        if self._copies * 2 <= self._pairs:
            return None
        return (
            f"warning: in {self._copies:,} of {self._pairs:,} pairs the target is the input again: a model "
            "learns to copy from them; check --inputs-field and --targets-field"
        )


def indistinguishable(groups: Sequence[Sequence[str]]) -> str:
    """Return what a vocabulary cannot do with targets that collapse, and what to do."""
    shown = ", ".join(" = ".join(repr(text[:_SHOWN_CHARACTERS]) for text in texts) for texts in groups)
    return (
        f"cannot tell these targets apart: {shown}; take one that can (--vocabulary bytes always does), or "
        "prepare again with one text for what is to be the same"
    )

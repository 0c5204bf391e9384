"""Rows that are there twice, or on both sides of the split: counted, and said once."""

from array import array
from functools import cached_property

from t5lite.core.errors import DataError
from t5lite.data.stores.target_texts import TargetTexts


class Repetitions:
    """Counts rows that repeat others; memory is two numbers a row."""

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        """Forget all rows: they are read again."""
        self._again = self._contradicting = self._both_sides = self._pairs = 0
        self._targets: dict[tuple[int, bool], int] = {}
        self._sides: dict[int, bool] = {}

    def add(self, inputs_text: str, targets_text: str, *, is_heldout: bool) -> None:
        """Take a row."""
        inputs, targets = (hash(TargetTexts.same(text)) for text in (inputs_text, targets_text))
        self._pairs += 1
        first = self._targets.get((inputs, is_heldout))
        self._again += first == targets
        self._contradicting += first not in (None, targets)
        self._targets.setdefault((inputs, is_heldout), targets)
        self._both_sides += self._sides.setdefault(inputs, is_heldout) != is_heldout

    def remarks(self, *, one_answer: bool = True) -> list[str]:
        """Return what to say of them, a line a kind; other targets are odd where there is ``one_answer``."""
        told = (
            (self._again, "rows repeat another, inputs and targets; each is trained on or scored"),
            (
                self._contradicting if one_answer else 0,
                "rows have the inputs of another, and other targets; no model can be right on both",
            ),
            (
                self._both_sides,
                "rows have inputs that are on the other side of the split, too: what is scored was "
                "trained on; leave them out of one",
            ),
        )
        return [f"warning: {count:,} of {self._pairs:,} {text}" for count, text in told if count]


class SharedInputs:
    """Inputs of held-out rows that training rows have, too; memory is a number a row."""

    def __init__(self):
        self._trained_on, self._heldout = array("q"), set[int]()
        self._num_left_out = 0

    def add(self, inputs: str, *, is_heldout: bool) -> None:
        """Take a row, before any is asked for."""
        take = self._heldout.add if is_heldout else self._trained_on.append
        take(hash(TargetTexts.same(inputs)))

    def check(self) -> None:
        """Check that there are held-out rows left, if there are any.

        Raises:
          DataError: if not.
        """
        if self._heldout and self._heldout == self._shared:
            raise DataError(
                f"each of the {len(self._heldout):,} inputs that would be held out stands in a training row, "
                "too: what is scored would have been trained on; name other files by --heldout-inputs, or "
                "hold none out by --heldout-fraction 0"
            )

    @cached_property
    def _shared(self) -> set[int]:
        return self._heldout.intersection(self._trained_on)

    def clear(self) -> None:
        """Forget what was left out: the rows are read again."""
        self._num_left_out = 0

    def leave_out(self, inputs: str) -> bool:
        """Return whether a held-out row has such inputs, and count it."""
        is_shared = hash(TargetTexts.same(inputs)) in self._shared
        self._num_left_out += is_shared
        return is_shared

    def remarks(self) -> list[str]:
        """Return what to say of the rows that were left out."""
        if not self._num_left_out:
            return []
        return [f"held-out rows left out, since a training row has their inputs: {self._num_left_out:,}"]

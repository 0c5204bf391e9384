"""Rows that are there twice, or on both sides of the split: counted, and said once."""

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

    def remarks(self) -> list[str]:
        """Return what to say of them, a line a kind."""
        told = (
            (self._again, "rows repeat another, inputs and targets; each is trained on or scored"),
            (
                self._contradicting,
                "rows have the inputs of another, and other targets; no model can be right on both",
            ),
            (
                self._both_sides,
                "rows have inputs that are on the other side of the split, too: what is scored was "
                "trained on; leave them out of one",
            ),
        )
        return [f"warning: {count:,} of {self._pairs:,} {text}" for count, text in told if count]

"""Steps whose loss or gradient is not finite: said at once, counted, and the end of a run that stays so."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from t5lite.core.errors import UserError
from t5lite.core.metrics import WeightedSum


class NonfiniteSteps:
    """The steps of one attempt that were not finite.

    Args:
      max_in_a_row: steps in a row after which the run gives up.
      say: shows one line.
      newest_checkpoint: returns the step that a new start would resume from, or None.
    """

    def __init__(
        self, max_in_a_row: int, say: Callable[[str], None], newest_checkpoint: Callable[[], int | None]
    ) -> None:
        self._max_in_a_row, self._say, self._newest_checkpoint = max_in_a_row, say, newest_checkpoint
        self.count = self.in_a_row = 0
        self._said_at = 0

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take note of the metrics (host values) of a step; say so the first time, then at twice the count.

        Raises:
          UserError: after ``max_in_a_row`` such steps.
        """
        if not metrics.get("nonfinite"):
            self.in_a_row = 0
            return
        self.count, self.in_a_row = self.count + 1, self.in_a_row + 1
        if self.count >= 2 * self._said_at:
            self._said_at = self.count
            so_far = f", {self.count} such steps so far" if self.count > 1 else ""
            self._say(f"step {step}: {_names(metrics)} not finite{so_far}")
        if self.in_a_row >= self._max_in_a_row:
            raise UserError(self._diverged(step))

    def check_end(self, step: int) -> None:
        """Say how many there were in all.

        Raises:
          UserError: if the last step was one of them: then nothing vouches for the parameters.
        """
        if self.count:
            self._say(f"{self.count} steps of this attempt were not finite")
        if self.in_a_row:
            raise UserError(self._diverged(step))

    def _diverged(self, step: int) -> str:
        newest = self._newest_checkpoint()
        resumes = "starts anew" if newest is None else f"resumes from step {newest}"
        return (
            f"loss or gradients were not finite for {self.in_a_row} steps in a row, up to step {step}, which "
            "is not saved; lower the learning rate or set step.max_gradient_norm, and run again: that "
            f"{resumes}{'' if newest is None else ', or from the one before if you delete that checkpoint'}"
        )


def _names(metrics: Mapping[str, Any]) -> str:
    """Return which metrics are not finite, as the words before "not finite"."""
    totals = {n: v.total if isinstance(v, WeightedSum) else v for n, v in metrics.items()}
    names = [name for name, total in totals.items() if not math.isfinite(total)] or ["the objective"]
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}"

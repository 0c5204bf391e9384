"""The end of a training that gets no better: so many evaluations in a row that brought nothing new."""

import math
from collections.abc import Mapping
from typing import Any


class EarlyStopping:
    """Follows one metric. It is a function of what was measured: a run that is resumed comes to the same end.

    Args:
      patience: evaluations in a row without an improvement after which the run ends.
      min_delta: what a value must be better by than the best before to be an improvement.
      metric: name in an evaluation's metrics.
      highest: whether higher values are better.
    """

    def __init__(self, *, patience: int, min_delta: float, metric: str, highest: bool) -> None:
        self._patience, self._min_delta = patience, min_delta
        self._metric, self._sign = metric, 1 if highest else -1
        self._best: tuple[int, float] | None = None
        self._num_without = 0
        self.num_lacking = 0
        """Evaluations that did not measure it, which do not count."""

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take note of what was measured after ``step`` steps; what is not finite is no improvement."""
        if self._metric not in metrics:
            self.num_lacking += 1
            return
        value = metrics[self._metric]
        if isinstance(value, int | float) and math.isfinite(value) and self._improves(value):
            self._best, self._num_without = (step, value), 0
        else:
            self._num_without += 1

    def _improves(self, value: float) -> bool:
        return self._best is None or self._sign * (value - self._best[1]) > self._min_delta

    @property
    def is_over(self) -> bool:
        """Whether the run is to end here."""
        return self._num_without >= self._patience

    def __str__(self) -> str:
        """Return why the run ends."""
        by = f" by more than {self._min_delta:g}" if self._min_delta else ""
        since = f"{self._num_without} evaluations (training.early_stopping_patience={self._patience})"
        if self._best is None:
            return f"{self._metric} was no number in {since}"
        step, value = self._best
        return f"{self._metric} last improved{by} at step {step} ({value:.4f}), and has not in {since}"

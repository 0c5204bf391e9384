"""What a task is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from t5lite.evaluation.metrics import Score

Metric = Callable[[Sequence[str], Sequence[str]], Score]


@dataclass(frozen=True, kw_only=True)
class Task:
    """How generated texts are scored; in every metric of a task, higher is better.

    Attributes:
      name: what recipes call it.
      metrics: metric by name, in the order of a report.
    """

    name: str
    metrics: Mapping[str, Metric]

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
        """Return every metric of the task over the whole corpus.

        Raises:
          DataError: if there is nothing to score or the lengths differ.
        """
        return {name: metric(predictions, references) for name, metric in self.metrics.items()}

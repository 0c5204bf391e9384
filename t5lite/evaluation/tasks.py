"""Tasks: by which metrics the texts generated for a kind of pair data are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from t5lite.evaluation import metrics
from t5lite.evaluation.metrics import Score

Metric = Callable[[Sequence[str], Sequence[str]], Score]


@dataclass(frozen=True)
class Task:
    """How generated texts are scored; in every metric of a task, higher is better.

    Attributes:
      metrics: metric by name, in the order of a report.
    """

    metrics: Mapping[str, Metric]

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
        """Return every metric of the task over the whole corpus.

        Raises:
          DataError: if there is nothing to score or the lengths differ.
        """
        return {name: metric(predictions, references) for name, metric in self.metrics.items()}


TASKS: dict[str, Task] = {
    "translation": Task({"bleu": metrics.bleu, "chrf": metrics.chrf}),
    "classification": Task(
        {
            "accuracy": metrics.accuracy,
            "majority_accuracy": metrics.majority_accuracy,
            "label_fraction": metrics.label_fraction,
        }
    ),
}
"""Every task that a recipe may name; look one up by ``core.registry.lookup(TASKS, name, kind="task")``."""

"""Several metrics of generated texts, by name."""

from collections.abc import Iterable, Sequence

from t5lite.core.registry import lookup
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.score import Metric, Score


def scores(names: Iterable[str], predictions: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """Return the metrics of that name over the whole corpus, in that order.

    Raises:
      ConfigError: if there is no such metric, with a suggestion.
      DataError: if there is nothing to score or the lengths differ.
    """
    return {name: metric(predictions, references) for name, metric in named_metrics(names).items()}


def named_metrics(names: Iterable[str]) -> dict[str, Metric]:
    """Return the metrics of these names.

    Raises:
      ConfigError: if there is none such, with a suggestion.
    """
    return {name: lookup(METRICS, name, kind="metric") for name in names}

"""Several metrics of generated texts, by name."""

from collections.abc import Iterable, Sequence

from t5lite.core.registry import lookup
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.score import Score


def scores(names: Iterable[str], predictions: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """Return the metrics of that name over the whole corpus, in that order.

    Raises:
      ConfigError: if there is no such metric, with a suggestion.
      DataError: if there is nothing to score or the lengths differ.
    """
    metrics = {name: lookup(METRICS, name, kind="metric") for name in names}
    return {name: metric(predictions, references) for name, metric in metrics.items()}

"""Several metrics of generated texts, by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from t5lite.core.errors import ConfigError, suggestion
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.classification import BinaryF1
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, score_of
from t5lite.evaluation.metrics.score import Metric, References, Score, as_single


class Scores(NamedTuple):
    """What metrics say of a corpus.

    Attributes:
      of_all: the score of all examples, by metric.
      of_each: for each example, its own values of the metrics that an example alone has.
    """

    of_all: Mapping[str, Score]
    of_each: Sequence[Mapping[str, float]]


def scores(names: Iterable[str], predictions: Sequence[str], references: References) -> Scores:
    """Return the metrics of that name, in that order.

    Raises:
      ConfigError: if there is no such metric, with a suggestion.
      DataError: if there is nothing to score or the lengths differ.
    """
    of_all: dict[str, Score] = {}
    columns: dict[str, list[float]] = {}
    for name, metric in named_metrics(names).items():
        if not isinstance(metric, CorpusMetric):  # a function, of texts, says no more than the score of all
            of_all[name] = metric(predictions, as_single(references, metric=name))
            continue
        sample, signature = metric.measured(predictions, references)
        of_all[name] = score_of(sample, signature)
        if (values := sample.of_each()) is not None:
            columns[name] = values.tolist()
    of_each = [{name: column[place] for name, column in columns.items()} for place in range(len(predictions))]
    return Scores(of_all, of_each)


def find_metric(name: str) -> Metric | None:
    """Return the metric of that name, ``f1:CLASS`` that of one class; None if there is none."""
    kind, _, positive = name.partition(":")
    return BinaryF1(positive) if kind == "f1" and positive else METRICS.get(name)


def named_metrics(names: Iterable[str]) -> dict[str, Metric]:
    """Return the metrics of these names.

    Raises:
      ConfigError: if there is none such, with a suggestion.
    """
    return {name: find_metric(name) or _unknown(name) for name in names}


def check_take_several(names: Iterable[str], *, store: str) -> None:
    """Check that metrics take several references of an example, as a store has them.

    Raises:
      ConfigError: naming those that do not, and those that do; as ``named_metrics``, too.
    """
    if single := [name for name, metric in named_metrics(names).items() if not _takes_several(metric)]:
        others = ", ".join(name for name, metric in METRICS.items() if _takes_several(metric))
        raise ConfigError(
            f"metrics of one reference an example ({', '.join(single)}) cannot score {store}, whose examples "
            f"have several; name metrics in the task that take several ({others}), or prepare it with a "
            "field of one answer, such as Text, in place of Answers"
        )


def _takes_several(metric: Metric) -> bool:
    return isinstance(metric, CorpusMetric) and metric.takes_several


def _unknown(name: str) -> NoReturn:
    raise ConfigError(f"unknown metric {name!r}{suggestion(name, [*METRICS, 'f1:CLASS'])}")

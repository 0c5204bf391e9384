"""Metrics of generated texts; those imported here are the ones that a task may name.

A new one is a function in a file of its family and the line that imports it.
"""

import types

from t5lite.evaluation.metrics.accuracies import accuracy as accuracy
from t5lite.evaluation.metrics.accuracies import label_fraction as label_fraction
from t5lite.evaluation.metrics.accuracies import majority_accuracy as majority_accuracy
from t5lite.evaluation.metrics.corpus_scores import bleu as bleu
from t5lite.evaluation.metrics.corpus_scores import chrf as chrf
from t5lite.evaluation.metrics.score import Metric

METRICS: dict[str, Metric] = {
    name: value for name, value in list(globals().items()) if isinstance(value, types.FunctionType)
}
"""Every metric, by the name that tasks and reports call it."""

"""Metrics of generated texts; those imported here are the ones that a task may name.

A new one is a function, or better a ``CorpusMetric``, in a file of its family and the line that imports it.
A corpus metric obeys a law (``corpus_metric``) by which its scores have bootstrap intervals and two models
are compared on the same examples.
"""

import types

from t5lite.evaluation.metrics.classification import accuracy as accuracy
from t5lite.evaluation.metrics.classification import label_fraction as label_fraction
from t5lite.evaluation.metrics.classification import macro_f1 as macro_f1
from t5lite.evaluation.metrics.classification import majority_accuracy as majority_accuracy
from t5lite.evaluation.metrics.classification import matthews as matthews
from t5lite.evaluation.metrics.classification import micro_f1 as micro_f1
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric
from t5lite.evaluation.metrics.correlation import pearson as pearson
from t5lite.evaluation.metrics.correlation import spearman as spearman
from t5lite.evaluation.metrics.question_answering import exact_match as exact_match
from t5lite.evaluation.metrics.question_answering import token_f1 as token_f1
from t5lite.evaluation.metrics.score import Metric
from t5lite.evaluation.metrics.sequence_labels import entity_f1 as entity_f1
from t5lite.evaluation.metrics.summarization import rouge1 as rouge1
from t5lite.evaluation.metrics.summarization import rouge2 as rouge2
from t5lite.evaluation.metrics.summarization import rouge_l as rouge_l
from t5lite.evaluation.metrics.summarization import rouge_lsum as rouge_lsum
from t5lite.evaluation.metrics.text_spans import argument_f1 as argument_f1
from t5lite.evaluation.metrics.text_spans import span_f1 as span_f1
from t5lite.evaluation.metrics.translation import bleu as bleu
from t5lite.evaluation.metrics.translation import chrf as chrf

METRICS: dict[str, Metric] = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, types.FunctionType | CorpusMetric)
}
"""Every metric, by the name that tasks and reports call it."""

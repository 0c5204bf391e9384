"""F1 of spans that are written out as text: named entities by kind, and the arguments of a predicate.

Where in the sentence a span stands is not written, so that one is its label and its words; of several such
as many are right as both sides have (as in mT5's ``span_f1``, Xue et al., 2021).
"""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, SummedSample
from t5lite.evaluation.metrics.score import References, as_single
from t5lite.evaluation.metrics.sequence_labels import micro_f1_of_sums

_ROLE = re.compile(r"\[(\S+) (.*?)\](?= |$)", re.DOTALL)
_VERB = "V"


class TextSpanF1(CorpusMetric):
    """Micro-averaged F1 of labelled spans, in 0..1; 0 of a corpus where neither side has one."""

    takes_several: ClassVar[bool] = False

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        statistics = []
        for text, reference in zip(
            predictions, as_single(references, metric=type(self).__name__), strict=True
        ):
            mine, theirs = Counter(self._spans(text)), Counter(self._spans(reference))
            statistics.append([(mine & theirs).total(), mine.total(), theirs.total()])
        return SummedSample(np.array(statistics, np.float64), micro_f1_of_sums), "spans|micro|label+words"

    @abstractmethod
    def _spans(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield label and words of each span."""


class SpanF1(TextSpanF1):
    """Of entities, ``PER: Ada Lovelace; LOC: London``: a part without a kind is none, such as ``none``."""

    def _spans(self, text: str) -> Iterator[tuple[str, str]]:
        for part in text.split(";"):
            kind, separator, words = part.partition(":")
            if separator:
                yield kind.strip(), " ".join(words.split())


class ArgumentF1(TextSpanF1):
    """Of arguments, ``[ARG0 The cat] [V sat]``: the verb itself is none, as in CoNLL-2005."""

    def _spans(self, text: str) -> Iterator[tuple[str, str]]:
        for label, words in _ROLE.findall(text):
            if label != _VERB:
                yield label, " ".join(words.split())


span_f1 = SpanF1()
argument_f1 = ArgumentF1()

"""F1 of entities that are marked by labels of tokens (IOB2, and what seqeval reads besides: IOE, IOBES)."""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, SummedSample
from t5lite.evaluation.metrics.score import References, as_single

_OUTSIDE = "O"
_LABEL = re.compile(r"[BIES](-.*)?|O", re.DOTALL)


class Entity(NamedTuple):
    """What labels mark: a type, and the first token and the last."""

    kind: str
    first: int
    last: int


def entities(labels: Sequence[str]) -> Iterator[Entity]:
    """Yield the entities of a sequence as conlleval and seqeval (without a mode) find them.

    An entity begins with B or S, with I or E after none, or where the type changes: ``I-PER`` alone is one.
    """
    begun: int | None = None
    before, kind_before = _OUTSIDE, ""
    for place, label in enumerate([*labels, _OUTSIDE]):
        mark, kind = label[0], label[2:] or "_"
        if begun is not None and (before in "ES" or mark in "BSO" or kind != kind_before):
            yield Entity(kind_before, begun, place - 1)
            begun = None
        if mark != _OUTSIDE and begun is None:
            begun = place
        before, kind_before = mark, kind


class EntityF1(CorpusMetric):
    """Micro-averaged F1 of entities whose type and tokens are both right, in 0..1.

    A prediction or reference is a text of labels with white space between them, one for each token. What is
    no label counts as O; of a prediction that is longer or shorter than its reference the rest is cut, or
    filled up with O. The signature says how often.
    """

    takes_several: ClassVar[bool] = False

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        statistics, num_others, num_lengths = [], 0, 0
        for text, reference in zip(predictions, as_single(references, metric="entity_f1"), strict=True):
            wanted, found = reference.split(), text.split()
            num_lengths += len(wanted) != len(found)
            found = [*found, *[_OUTSIDE] * (len(wanted) - len(found))][: len(wanted)]
            labels = [label if _LABEL.fullmatch(label) else _OUTSIDE for label in found]
            num_others += labels != found
            mine, theirs = set(entities(labels)), set(entities(wanted))
            statistics.append([len(mine & theirs), len(mine), len(theirs)])
        replaced = {"other-labels": num_others, "other-length": num_lengths}
        said = "".join(f"|{name}:{number}" for name, number in replaced.items() if number)
        return SummedSample(np.array(statistics, np.float64), micro_f1_of_sums), f"seqeval|micro{said}"


def micro_f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return F1 of sums ``[..., 3]``: hits, what was found, what was wanted; 0 where there is neither."""
    hits, found, wanted = np.moveaxis(sums, -1, 0)
    return 2 * hits / np.maximum(found + wanted, 1)


entity_f1 = EntityF1()

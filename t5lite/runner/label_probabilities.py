"""How probable a model that writes finds each label of a task, of all that it could answer."""

from collections.abc import Sequence

import jax
import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses, find_classes
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import Row
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner

_MOST = 20
"""Labels whose probabilities are asked for: each is as much work as reading the input again."""


def calibrated_labels(pairs: PairStore, vocabulary: Vocabulary) -> LabelClasses | None:
    """Return the distinct targets of a store; None of a single one, or of more than are asked for."""
    try:
        labels = find_classes(pairs, vocabulary)
    except DataError:  # one label, which is always right, or too many for labels
        return None
    return labels if len(labels.texts) <= _MOST else None


class LabelProbabilities:
    """Scores each label with EOS behind it as the answer; the probabilities are shares among the labels.

    Args:
      model: that writes.
      labels: of the task.
      vocabulary: of the model.
      answer_length: tokens of an answer, EOS included; labels are cut to it, as in training.
      batch_size: labels at once.
      partitioner: where parameters lie; None for one device.
    """

    def __init__(
        self,
        model: FunctionalModel,
        labels: LabelClasses,
        vocabulary: Vocabulary,
        *,
        answer_length: int,
        batch_size: int,
        partitioner: Partitioner | None = None,
    ):
        eos = vocabulary.special_id("eos", needed_for="the end of a label")
        self.names = labels.texts
        self._targets = [(*tokens[: answer_length - 1], eos) for tokens in labels.tokens]
        self._scorer = TargetScorer(model, batch_size=batch_size, partitioner=partitioner)

    def __call__(self, params: Tree, rows: Sequence[Row]) -> np.ndarray:
        """Return the probability of each label, float64 [N, C], for what the model reads of N inputs."""
        given = [GivenTarget(row.ids, target) for row in rows for target in self._targets]
        found = [each.log_likelihood for each in self._scorer.scores(params, given)]
        return np.asarray(jax.nn.softmax(np.reshape(found, (len(rows), -1)), axis=-1))

"""How probable a model that writes finds each label of a task, of all that it could answer."""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses, find_classes, listed, named_classes
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import Row, decoding_mode, score_targets
from t5lite.decoding.searching import Searching
from t5lite.evaluation.length_buckets import buckets
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows
from t5lite.tasks.task import Task

_MOST = 20
"""Labels whose probabilities are asked for: each is written for every input."""


def calibrated_labels(
    task: Task, pairs: PairStore, vocabulary: Vocabulary
) -> tuple[LabelClasses, np.ndarray] | None:
    """Return the labels of a task, and which is right for each pair.

    They are those that the task names, or else the distinct targets of the pairs. None of a task without
    labels, of a single one, and of more than are asked for.

    Raises:
      DataError: if a target is none of the labels, or the vocabulary does not tell them apart.
    """
    if not task.has_classes:
        return None
    if task.answers is None:
        try:
            labels = find_classes(pairs, vocabulary)
        except DataError:  # one label, which is always right, or too many for labels
            return None
    else:
        labels = named_classes(task.answers, vocabulary)
    if not 1 < len(labels.texts) <= _MOST:
        return None
    try:
        return labels, labels.labels(pairs)
    except DataError as error:
        raise DataError(
            f"no calibration: not every target of {pairs.path} is told from others as one of the labels of "
            f"{task.name}, {listed(labels.texts)}"
        ) from error


class LabelProbabilities:
    """Scores each label with EOS behind it as the answer; the probabilities are shares among the labels.

    An input is read once, whatever the number of labels.

    Args:
      model: that writes.
      labels: of the task.
      vocabulary: of the model.
      encoder_length: most tokens of an input.
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
        encoder_length: int,
        answer_length: int,
        batch_size: int,
        partitioner: Partitioner | None = None,
    ):
        eos = vocabulary.special_id("eos", needed_for="the end of a label")
        targets = [(*tokens[: answer_length - 1], eos) for tokens in labels.tokens]
        lengths_C = np.array([len(each) for each in targets], np.int32)
        targets_CL = np.zeros((len(targets), lengths_C.max()), np.int32)
        for row, target in enumerate(targets):
            targets_CL[row, : len(target)] = target
        self.names, self._partitioner = labels.texts, partitioner
        self._batch_size = even_rows(max(batch_size // len(targets), 1), partitioner)
        mode_of = cast(type[Searching], decoding_mode(model.config))  # it writes
        self._mode = mode_of(
            model.config, vocabulary, encoder_length=encoder_length, max_decode_length=answer_length
        )

        def log_likelihoods(params: Tree, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
            rows = len(tokens_BM)
            with activated(partitioner):
                decoder = mode_of.decoder(model.bind_for_decoding(params), targets_CL.shape[1])
                log_probs_RL = score_targets(
                    decoder,
                    *(tokens_BM, marks),
                    jnp.tile(targets_CL, (rows, 1)),
                    jnp.tile(lengths_C, rows),
                )
            return log_probs_RL.sum(axis=1).reshape(rows, -1)

        # Every process of several reads all scores, of which its devices would hold a part.
        self._log_likelihoods = jax.jit(
            log_likelihoods, out_shardings=partitioner.replicated if partitioner else None
        )

    def __call__(self, params: Tree, rows: Sequence[Row]) -> np.ndarray:
        """Return the probability of each label, float64 [N, C], for what the model reads of N inputs."""
        found_NC = np.zeros((len(rows), len(self.names)))
        lengths = [len(row.ids) for row in rows]
        for bucket in buckets(lengths, batch_size=self._batch_size, most=self._mode.encoder_length):
            numbers = list(bucket.numbers)
            filled_up = numbers + numbers[:1] * (self._batch_size - len(numbers))
            arrays = self._mode.arrays([rows[number].ids for number in filled_up], bucket.length)
            if self._partitioner is not None:
                arrays = jax.device_put(arrays, self._partitioner.batch_sharding)
            found_NC[numbers] = np.asarray(self._log_likelihoods(params, *arrays))[: len(numbers)]
        return np.exp(found_NC - np.logaddexp.reduce(found_NC, axis=1, keepdims=True))

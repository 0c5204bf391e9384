"""Examples for fine-tuning an encoder to classify: the inputs of a pair a row, the target its class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.examples.label_classes import LabelClasses, find_classes
from t5lite.data.examples.protocol import Examples
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import SpecialTokens, special_tokens

if TYPE_CHECKING:
    from t5lite.data.examples.pair_examples import PairsDataConfig

NUM_FRAMING = 2
"""[CLS] and [SEP]."""


class ClassificationExamples(Examples):
    """Row ``i`` is usable pair ``i``: [CLS] inputs [SEP] and padding, with the number of its target's class.

    Token types are absent, hence 0: the inputs are one sentence.

    Args:
      config: of the pairs; ``targets_length`` and ``pack`` say nothing here.
      architecture: of the model that is fed.
      classes: of the run; None finds them in the store.
      vocabulary_fingerprint: of the vocabulary the data must belong to; None accepts any.
      tolerate_damage: as of ``TokenStore.open``.

    Raises:
      DataError: if no pair is usable, a target is none of the classes, or there are too many.
      ConfigError: if the vocabulary has nothing to frame the inputs with.
    """

    def __init__(
        self,
        config: "PairsDataConfig",
        *,
        architecture: str,
        classes: LabelClasses | None = None,
        vocabulary_fingerprint: str | None = None,
        tolerate_damage: bool = False,
    ):
        self.spec = config.batch_spec(architecture)
        self._store = PairStore.open(config.store, vocabulary_fingerprint, tolerate_damage=tolerate_damage)
        self.vocabulary: Vocabulary = self._store.vocabulary()
        self._special = special_tokens(self.vocabulary)
        self.classes = find_classes(self._store, self.vocabulary) if classes is None else classes
        labels = self.classes.labels(self._store)
        self.max_epochs = config.max_epochs
        lengths = self._store.inputs.document_lengths + NUM_FRAMING
        overlong = lengths > config.inputs_length
        dropped = overlong if config.overlong == "drop" else np.zeros_like(overlong)
        self._usable = np.flatnonzero(~dropped)
        self.labels = self._labels = labels[self._usable]
        self.num_examples = len(self._usable)
        if not self.num_examples:
            raise DataError(
                f"none of the {self._store.num_pairs} pairs of {config.store} fits inputs_length="
                f"{config.inputs_length}; raise it or pass overlong=truncate"
            )
        tokens = np.minimum(lengths[self._usable], config.inputs_length).sum()
        self.report: dict[str, float] = {
            "pairs": self._store.num_pairs,
            "examples": self.num_examples,
            "truncated": int((overlong & ~dropped).sum()),
            "dropped": int(dropped.sum()),
            "density": float(tokens / (self.num_examples * config.inputs_length)),
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        pairs = self._usable[indices]
        documents = self._store.inputs.documents(pairs)
        tokens_BM, segment_ids_BM = framed_rows(documents, self._special, length=self.spec.encoder_length)
        return {
            "encoder_input_tokens": tokens_BM,
            "encoder_segment_ids": segment_ids_BM,
            "sequence_labels": self._labels[indices],
        }


def framed_rows(
    documents: Sequence[np.ndarray], special: SpecialTokens, *, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and segment ids, int32 [B, length]: [CLS], the document, cut to fit, [SEP], padding."""
    tokens_BM, segment_ids_BM = (np.zeros((len(documents), length), np.int32) for _ in range(2))
    for row, document in enumerate(documents):
        body = document[: length - NUM_FRAMING]
        end = len(body) + NUM_FRAMING
        tokens_BM[row, :end] = [special.cls, *body.tolist(), special.sep]
        segment_ids_BM[row, :end] = 1
    return tokens_BM, segment_ids_BM

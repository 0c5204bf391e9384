"""Examples for fine-tuning an encoder to classify: the inputs of a pair a row, the target its class."""

from typing import TYPE_CHECKING

import numpy as np

from t5lite.data.examples.framed_inputs import FramedInputs
from t5lite.data.examples.label_classes import LabelClasses, find_classes
from t5lite.data.examples.protocol import Examples
from t5lite.data.stores.pair_store import PairStore

if TYPE_CHECKING:
    from t5lite.data.examples.pair_examples import PairsDataConfig


class ClassificationExamples(Examples):
    """Row ``i`` is usable pair ``i``: [CLS] inputs [SEP] and padding, with the number of its target's class.

    Args:
      config: of the pairs; ``targets_length`` and ``pack`` say nothing here.
      store: theirs.
      architecture: of the model that is fed.
      classes: of the run; None finds them in the store.

    Raises:
      DataError: if no pair is usable, a target is none of the classes, or there are too many.
      ConfigError: if the vocabulary has nothing to frame the inputs with.
    """

    def __init__(
        self,
        config: "PairsDataConfig",
        store: PairStore,
        *,
        architecture: str,
        classes: LabelClasses | None = None,
    ):
        self.spec = config.batch_spec(architecture)
        self._inputs = FramedInputs(store, length=self.spec.encoder_length, overlong=config.overlong)
        self.vocabulary, self.report = self._inputs.vocabulary, self._inputs.report
        self.classes = find_classes(store, self.vocabulary) if classes is None else classes
        self.labels = self._labels = self.classes.labels(store)[self._inputs.usable]
        self.max_epochs, self.num_examples = config.max_epochs, len(self._labels)

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        return self._inputs.fields(indices) | {"sequence_labels": self._labels[indices]}

"""What examples are to the pipeline, whatever they are made of, and what stands in for a damaged one."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import DataError
from t5lite.data.example_order import evaluation_indices
from t5lite.data.examples.framed_inputs import Described
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.stores.paged_column import DamagedPageError
from t5lite.data.vocabulary import Vocabulary

_PROBES = 16
"""Examples that are looked at, to see whether any can be read."""


class Examples(ABC):
    """Random access to the batch fields of numbered examples."""

    num_examples: int
    spec: BatchSpec
    max_epochs: int | None
    vocabulary: Vocabulary
    report: dict[str, float]
    classes: LabelClasses | None = None
    """Of pairs that are classified."""
    labels: np.ndarray | None = None
    """The class of every row, int32 [num_examples]; None without classes."""

    @abstractmethod
    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the fields (``core.types``) of examples ``indices``, one a row."""

    def evaluated(self, max_examples: int | None) -> np.ndarray:
        """Return which examples an evaluation limited to ``max_examples`` uses, in its order."""
        return evaluation_indices(self.num_examples, max_examples)

    def take_skipped(self) -> Counter[str]:
        """Return how many rows each damage has cost since this was last asked for."""
        return Counter()


class AnsweredExamples(Examples):
    """Examples of a head whose predictions, and what is right, can be written as text.

    What is predicted for has a number of its own, where several examples are parts of it.
    """

    @abstractmethod
    def described(self, index: int) -> Described:
        """Return number ``index`` of what is predicted for as text."""

    @abstractmethod
    def predictions(self, found: Iterable[tuple[int, Mapping[str, np.ndarray]]]) -> Iterator[tuple[int, str]]:
        """Yield the number of what is predicted for, and what is predicted.

        Args:
          found: examples in the order of ``evaluated``, and the model's outputs for each, without the batch
            axis.
        """


class TextPairs(Examples):
    """Examples of texts that belong together, which are found by each other's vectors."""

    numbers_N2: np.ndarray
    """Which texts the anchor and the positive of each example are, int32: equal numbers, equal tokens."""
    similarities_N: np.ndarray | None = None
    """How alike the texts of each example are, float64, where that is known; such pairs are measured by it,
    and not trained on, since nothing says which of them belong together."""

    @abstractmethod
    def described(self, index: int) -> Described:
        """Return the anchor and the positive of example ``index``."""


def check_readable(examples: Examples) -> None:
    """Check that some of the examples can be read: nothing can be learned of blank rows alone.

    Raises:
      DataError: if none of those looked at can.
    """
    numbers = np.unique(np.arange(_PROBES) * examples.num_examples // _PROBES)
    for number in numbers:
        try:
            examples.fields(np.array([number]), noise_key=np.zeros(2, np.uint64), noise_indices=np.array([0]))
        except DamagedPageError as error:
            if number == numbers[-1]:
                raise DataError(f"none of {len(numbers)} examples can be read: {error}") from error
        else:
            return


class SkippingExamples(Examples):
    """Examples of which those that cannot be read are blank rows: nothing is in them, and nothing counts.

    Which rows are blank follows from the data alone, so that a batch stays a function of data, config, seed
    and step.
    """

    def __init__(self, examples: Examples):
        self._examples = examples
        self.num_examples, self.max_epochs = examples.num_examples, examples.max_epochs
        self.spec, self.classes, self.labels = examples.spec, examples.classes, examples.labels
        self.vocabulary, self.report = examples.vocabulary, examples.report
        self._skipped: Counter[str] = Counter()
        self._is_readable = False

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the fields of examples ``indices``, blank rows for damaged ones."""
        try:
            return self._examples.fields(indices, noise_key=noise_key, noise_indices=noise_indices)
        except DamagedPageError:
            rows = [
                self._row(
                    indices[row : row + 1], noise_key=noise_key, noise_indices=noise_indices[row : row + 1]
                )
                for row in range(len(indices))
            ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def evaluated(self, max_examples: int | None) -> np.ndarray:
        """Return which examples an evaluation uses, damaged or not."""
        return self._examples.evaluated(max_examples)

    def _row(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        try:
            return self._examples.fields(indices, noise_key=noise_key, noise_indices=noise_indices)
        except DamagedPageError as error:
            if not self._is_readable:
                check_readable(self._examples)
                self._is_readable = True
            self._skipped[str(error)] += 1
            return self.spec.blank(1)

    def take_skipped(self) -> Counter[str]:
        """Return how many rows each damage has cost since this was last asked for."""
        taken, self._skipped = self._skipped, Counter()
        return taken

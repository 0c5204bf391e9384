"""What examples are to the pipeline, whatever they are made of, and what stands in for a damaged one."""

from collections import Counter
from typing import Protocol

import numpy as np

from t5lite.core.batch_fields import BATCH_FIELDS
from t5lite.core.errors import DataError
from t5lite.data.stores.paged_column import DamagedPageError
from t5lite.data.vocabulary import Vocabulary

_PROBES = 16


class Examples(Protocol):
    """Random access to the batch fields of numbered examples."""

    num_examples: int
    encoder_length: int
    decoder_length: int
    max_epochs: int | None
    vocabulary: Vocabulary
    report: dict[str, float]

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the fields (``core.types``) of examples ``indices``, one a row."""
        ...


def blank_fields(examples: Examples, rows: int) -> dict[str, np.ndarray]:
    """Return rows of the examples' fields in which nothing is there and nothing counts.

    Raises:
      DataError: if no example can be read that would show which fields there are.
    """
    numbers = np.unique(np.arange(_PROBES) * examples.num_examples // _PROBES)
    for number in numbers:
        try:
            shown = examples.fields(
                np.array([number]), noise_key=np.zeros(2, np.uint64), noise_indices=np.array([0])
            )
        except DamagedPageError as error:
            if number == numbers[-1]:
                raise DataError(f"none of {len(numbers)} examples can be read: {error}") from error
            continue
        return {
            name: np.full((rows, *field.shape[1:]), BATCH_FIELDS[name].absent, field.dtype)
            for name, field in shown.items()
        }
    raise AssertionError("an example at least is there")


class SkippingExamples:
    """Examples of which those that cannot be read are blank rows: nothing is in them, and nothing counts.

    Which rows are blank follows from the data alone, so that a batch stays a function of data, config, seed
    and step.

    Attributes:
      skipped: how many rows each damage has cost since ``skipped`` was last cleared.
    """

    def __init__(self, examples: Examples):
        self._examples = examples
        self.num_examples, self.max_epochs = examples.num_examples, examples.max_epochs
        self.encoder_length, self.decoder_length = examples.encoder_length, examples.decoder_length
        self.vocabulary, self.report = examples.vocabulary, examples.report
        self.skipped: Counter[str] = Counter()
        self._blank: dict[str, np.ndarray] | None = None

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

    def _row(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        try:
            return self._examples.fields(indices, noise_key=noise_key, noise_indices=noise_indices)
        except DamagedPageError as error:
            self.skipped[str(error)] += 1
            if self._blank is None:
                self._blank = blank_fields(self._examples, 1)
            return self._blank

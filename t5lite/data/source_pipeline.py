"""The batches of one source: examples of a store in shuffled order, with noise by position."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from t5lite.core.batch_fields import BATCH_FIELDS, COUNTING
from t5lite.data.batch_stream import BatchStream, row_bounds
from t5lite.data.example_order import ExampleOrder
from t5lite.data.examples.protocol import AnsweredExamples, Examples, SkippingExamples, TextPairs
from t5lite.data.indexed_random import derive_key
from t5lite.data.opening import Opening

if TYPE_CHECKING:
    from t5lite.data.examples.source_config import SourceConfig

_LOWER_HALF = np.uint64(0xFFFFFFFF)


def open_source(config: "SourceConfig", opening: Opening) -> "Pipeline":
    """Open a single source; errors as of ``open_pipeline``."""
    examples = config.open_examples(opening)
    # Workers must not find classes anew: those of the run may be more than those of the store.
    opening = dataclasses.replace(opening, classes=examples.classes)
    return Pipeline(examples, opening=opening, reopen=functools.partial(open_source, config, opening))


class Pipeline(BatchStream):
    """Batches of the examples of one source; open it with ``open_pipeline``.

    Args:
      examples: of the source.
      opening: how it was opened.
      reopen: opens this pipeline again, in a worker process.

    Attributes:
      classes: of pairs that are classified; else None.
      labels: the class of every example, int32 [num_examples]; None without classes.
      text_pairs: the examples, where they are pairs that find each other; else None.
      answered: the examples, where a head's predictions can be written; else None.
    """

    def __init__(self, examples: Examples, *, opening: Opening, reopen: Callable[[], BatchStream]):
        super().__init__(reopen)
        self.classes, self.labels = examples.classes, examples.labels
        self.answered = examples if isinstance(examples, AnsweredExamples) else None
        self.text_pairs = examples if isinstance(examples, TextPairs) else None
        self._examples = SkippingExamples(examples) if opening.tolerates_damage else examples
        self.vocabulary = examples.vocabulary
        self.num_examples = examples.num_examples
        self.spec = examples.spec
        self.report = examples.report
        epochs = examples.max_epochs
        self.num_positions = None if epochs is None else epochs * self.num_examples
        self.end = f"max_epochs={epochs} of {self.num_examples} examples"
        self._noise_key = derive_key(opening.seed, "noise")
        # Evaluation noise is the same for every run, so that their losses compare.
        self._evaluation_key = derive_key(0, "evaluation")
        shuffle_seed = int(derive_key(opening.seed, "shuffle")[0] & _LOWER_HALF) if opening.shuffle else None
        self._order = ExampleOrder(self.num_examples, shuffle_seed)

    def rows(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the fields of rows ``positions`` of the endless stream of examples."""
        indices = self._order.indices(positions)
        return self._examples.fields(indices, noise_key=self._noise_key, noise_indices=positions)

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Return the fields of example ``index``, each without the batch axis, as evaluation sees it."""
        if not 0 <= index < self.num_examples:
            raise IndexError(f"example {index} of {self.num_examples}")
        return {name: rows[0] for name, rows in self._evaluation_fields(np.array([index])).items()}

    def eval_batches(
        self, batch_size: int, rows: slice | None = None, *, max_examples: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield one pass over the examples; all batches have the same shape.

        Rows that fill up the last batch repeat the last example with loss weights of 0 and labels of -1.
        Noise depends on the example's number only, not on the seed.

        Args:
          batch_size: rows of the global batch.
          rows: this host's contiguous rows; None for all.
          max_examples: at most so many (``evaluated``).
        """
        first, last = row_bounds(rows, batch_size)
        indices = self.evaluated(max_examples)
        for start in range(0, len(indices), batch_size):
            positions = start + np.arange(first, last)
            fields = self._evaluation_fields(indices[np.minimum(positions, len(indices) - 1)])
            for name in COUNTING & fields.keys():
                fields[name][positions >= len(indices)] = BATCH_FIELDS[name].absent
            yield fields

    def evaluated(self, max_examples: int | None) -> np.ndarray:
        """Return which examples such an evaluation uses, in its order (``Examples.evaluated``)."""
        return self._examples.evaluated(max_examples)

    def _evaluation_fields(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._examples.fields(indices, noise_key=self._evaluation_key, noise_indices=indices)

    def _take_skipped(self) -> Counter[str]:
        return self._examples.take_skipped()

"""From a store to batches: ``step -> global batch`` is a pure function of (data, config, seed, step).

Position ``p = step * batch_size + row`` of the endless example stream is looked up in an index permutation
(another one each epoch), read from the store at random, and given noise that depends on ``(seed, p)``. So
neither hosts, worker processes nor devices change what a step sees, and starting at any step costs nothing.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import grain
import numpy as np
from absl import flags

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.classification_examples import ClassificationExamples
from t5lite.data.indexed_random import derive_key
from t5lite.data.label_classes import LabelClasses
from t5lite.data.pair_examples import PairExamples, PairsDataConfig
from t5lite.data.pretraining_examples import PretrainingDataConfig, PretrainingExamples
from t5lite.data.vocabulary import Vocabulary

DataConfig: TypeAlias = PretrainingDataConfig | PairsDataConfig

LOSS_WEIGHTS = {"encoder_loss_weights", "decoder_loss_weights"}
"""Fields that say what counts; a batch has those of its architecture."""
ROW_LABELS = {"sequence_labels", "span_starts", "span_ends"}
"""Fields with one label a row; a negative one does not count."""
_ENDLESS = 1 << 62


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


def open_pipeline(
    config: DataConfig,
    *,
    architecture: str = "encoder_decoder",
    seed: int = 0,
    shuffle: bool = True,
    vocabulary_fingerprint: str | None = None,
    classes: LabelClasses | None = None,
) -> "Pipeline":
    """Open the data that ``config`` names.

    Args:
      config: what to read and how to make examples of it.
      architecture: of the model that is fed (``config.architecture``), which decides how pairs are laid
        out; what becomes of text is up to the objective.
      seed: of the shuffle and the noise.
      shuffle: whether training batches come in random order; evaluation never does.
      vocabulary_fingerprint: of the vocabulary the data must belong to; None accepts any.
      classes: of pairs for an encoder-only model; None finds them in the store.

    Raises:
      DataError: if the store is missing, damaged, of another vocabulary, too small for one example, or has
        targets that are none of the classes.
      ConfigError: if the settings contradict the store.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} must not be negative")
    examples: Examples
    if isinstance(config, PretrainingDataConfig):
        examples = PretrainingExamples(config, vocabulary_fingerprint=vocabulary_fingerprint)
    elif architecture == "encoder_only":
        config.lengths(architecture)
        examples = ClassificationExamples(
            config, classes=classes, vocabulary_fingerprint=vocabulary_fingerprint
        )
    else:
        examples = PairExamples(
            config, architecture=architecture, vocabulary_fingerprint=vocabulary_fingerprint
        )
    return Pipeline(examples, config=config, architecture=architecture, seed=seed, shuffle=shuffle)


class Pipeline:
    """Batches of examples; open it with ``open_pipeline``.

    Attributes:
      vocabulary: what the tokens belong to.
      num_examples: examples (chunks, pairs or packed rows) in an epoch.
      encoder_length: M of the batch fields, 0 where there are none of the encoder's.
      decoder_length: L of the batch fields, 0 where there are none of the decoder's.
      report: counts of what is used, truncated and left out, for the log.
      classes: that the targets of pairs are for an encoder-only model, None otherwise.
    """

    def __init__(
        self, examples: Examples, *, config: DataConfig, architecture: str, seed: int, shuffle: bool
    ):
        self._examples = examples
        self.classes = examples.classes if isinstance(examples, ClassificationExamples) else None
        self._opening = {
            "config": config,
            "architecture": architecture,
            "seed": seed,
            "shuffle": shuffle,
            "classes": self.classes,
        }
        self.vocabulary = examples.vocabulary
        self.num_examples = examples.num_examples
        self.encoder_length, self.decoder_length = examples.encoder_length, examples.decoder_length
        self.report = examples.report
        self._noise_key = derive_key(seed, "noise")
        # Evaluation noise is the same for every run, so that their losses compare.
        self._evaluation_key = derive_key(0, "evaluation")
        order = grain.MapDataset.range(self.num_examples)
        if shuffle:
            order = order.shuffle(seed=int(derive_key(seed, "shuffle")[0] & np.uint64(0xFFFFFFFF)))
        self._order = order.repeat()

    def num_steps(self, batch_size: int) -> int | None:
        """Return how many whole batches ``max_epochs`` allows, None if the data repeats for ever."""
        if self._examples.max_epochs is None:
            return None
        return self.num_examples * self._examples.max_epochs // batch_size

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Return the fields of example ``index``, each without the batch axis, as evaluation sees it."""
        if not 0 <= index < self.num_examples:
            raise IndexError(f"example {index} of {self.num_examples}")
        return {name: rows[0] for name, rows in self._evaluation_fields(np.array([index])).items()}

    def batch(self, step: int, *, batch_size: int, rows: slice | None = None) -> dict[str, np.ndarray]:
        """Return rows of the global batch of a training step.

        Args:
          step: counted from 0.
          batch_size: rows of the global batch.
          rows: this host's contiguous rows; None for all. Only these are computed.

        Raises:
          DataError: if ``step`` lies beyond ``max_epochs``.
        """
        first, last = _bounds(rows, batch_size)
        available = self.num_steps(batch_size)
        if step < 0 or (available is not None and step >= available):
            raise DataError(
                f"step {step} does not exist: max_epochs={self._examples.max_epochs} of {self.num_examples} "
                f"examples give {available} batches of {batch_size}; raise it or train for fewer steps"
            )
        positions = step * batch_size + np.arange(first, last)
        indices = np.array([self._order[position] for position in positions.tolist()], np.int64)
        return self._examples.fields(indices, noise_key=self._noise_key, noise_indices=positions)

    def batches(
        self,
        *,
        batch_size: int,
        start_step: int = 0,
        rows: slice | None = None,
        num_workers: int = 0,
        num_steps: int | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield ``batch(start_step)``, ``batch(start_step + 1)`` and so on.

        Args:
          batch_size: rows of the global batch.
          start_step: where to begin; costs nothing.
          rows: this host's contiguous rows; None for all.
          num_workers: processes that prepare batches; 0 does it in this one. They are spawned, so a script
            that asks for them needs the usual ``if __name__ == "__main__"``.
          num_steps: how many batches; None goes on until ``max_epochs``.
        """
        _bounds(rows, batch_size)
        available = self.num_steps(batch_size)
        left = _ENDLESS if available is None else max(available - start_step, 0)
        steps = _Steps(
            opening=self._opening,
            start_step=start_step,
            num_steps=left if num_steps is None else min(num_steps, left),
            batch_size=batch_size,
            rows=rows,
        )
        if num_workers:
            return _from_workers(steps, num_workers)
        return (self.batch(start_step + i, batch_size=batch_size, rows=rows) for i in range(steps.num_steps))

    def eval_batches(
        self, batch_size: int, rows: slice | None = None, *, max_examples: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield one pass over the examples; all batches have the same shape.

        Rows that fill up the last batch repeat the last example with loss weights of 0 and labels of -1.
        Noise depends on the example's number only, not on the seed.

        Args:
          batch_size: rows of the global batch.
          rows: this host's contiguous rows; None for all.
          max_examples: at most so many (``evaluation_indices``).
        """
        first, last = _bounds(rows, batch_size)
        indices = evaluation_indices(self.num_examples, max_examples)
        for start in range(0, len(indices), batch_size):
            positions = start + np.arange(first, last)
            fields = self._evaluation_fields(indices[np.minimum(positions, len(indices) - 1)])
            for name in LOSS_WEIGHTS & fields.keys():
                fields[name][positions >= len(indices)] = 0
            for name in ROW_LABELS & fields.keys():
                fields[name][positions >= len(indices)] = -1
            yield fields

    def _evaluation_fields(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._examples.fields(indices, noise_key=self._evaluation_key, noise_indices=indices)


def evaluation_indices(num_examples: int, max_examples: int | None) -> np.ndarray:
    """Return which examples an evaluation limited to ``max_examples`` uses: evenly spread, in mixed order.

    The first so many would all come from the first file of the corpus. The order is mixed (always the same)
    because encoder use swaps neighbours: next to each other in one book, or of one class, they would be
    too alike to tell whether the encoder is read.
    """
    count = min(num_examples, max_examples or num_examples)
    return np.random.default_rng(0).permutation(np.arange(count) * num_examples // count)


def _bounds(rows: slice | None, batch_size: int) -> tuple[int, int]:
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
    if rows is None:
        return 0, batch_size
    first, last, stride = rows.start or 0, batch_size if rows.stop is None else rows.stop, rows.step or 1
    if not 0 <= first < last <= batch_size or stride != 1:
        raise ValueError(f"{rows} is no contiguous, non-empty part of {batch_size} rows")
    return first, last


@dataclass
class _Steps:
    """What a worker process needs to compute batches: it opens the stores itself."""

    opening: dict[str, Any]
    """Arguments of ``open_pipeline``."""
    start_step: int
    num_steps: int
    batch_size: int
    rows: slice | None
    _pipeline: Pipeline | None = None

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
        if self._pipeline is None:
            self._pipeline = open_pipeline(**self.opening)
        step = self.start_step + int(index)
        return self._pipeline.batch(step, batch_size=self.batch_size, rows=self.rows)


def _live_as_long_as_the_parent(worker_index: int, num_workers: int) -> None:
    """Set up a worker process: signals are the main process's business, and its death is the worker's.

    Ctrl-C, Slurm and systemd signal the whole process group. The main process goes on to the step at which
    all hosts stop and needs batches until then; it then closes its workers, by an event and, should that
    fail, by SIGKILL. None of that happens when it is killed itself, hence the thread that waits for its end.
    """
    del worker_index, num_workers
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_after_the_parent, name="parent watch", daemon=True).start()


def _exit_after_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _from_workers(steps: _Steps, num_workers: int) -> Iterator[dict[str, np.ndarray]]:
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain hands absl's flags to its workers, and we have none to parse
    dataset = grain.MapDataset.source(steps).to_iter_dataset(
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    )
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterator = iter(dataset.mp_prefetch(options, worker_init_fn=_live_as_long_as_the_parent))
    try:
        yield from iterator
    finally:
        close: Any = getattr(iterator, "close", None)
        if close is not None:
            close()

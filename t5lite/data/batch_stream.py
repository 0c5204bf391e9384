"""``position -> global batch``, whatever the rows are made of: bounds, hosts' rows, worker processes."""

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.left_out import LeftOut
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.worker_processes import from_workers

_ENDLESS = 1 << 62


class BatchStream(ABC):
    """The batches of a training; ``open_pipeline`` opens it.

    Attributes:
      vocabulary: what the tokens belong to.
      num_examples: examples (chunks, pairs or packed rows) in an epoch.
      spec: the fields of its rows, and their lengths.
      report: counts of what is used, truncated and left out, for the log.
      classes: that the targets of pairs are for an encoder-only model, None otherwise.
      num_positions: rows until the stream ends, None if it never does.
      end: why it ends, for messages.
      skipped: rows that were left blank, by the damage that they met (``loader.on_damage``).
      history: of a mixture, what its shares have been; None of a single source.
      left_out: places of the stream that no position stands for (``leave_out``).
    """

    vocabulary: Vocabulary
    num_examples: int
    spec: BatchSpec
    report: dict[str, float]
    classes: LabelClasses | None = None
    history: MixtureHistory | None = None
    num_positions: int | None
    end: str

    def __init__(self, reopen: "Callable[[], BatchStream]"):
        self._reopen = reopen
        self.skipped: Counter[str] = Counter()
        self.left_out = LeftOut()

    @property
    def encoder_length(self) -> int:
        """M of the batch fields, 0 where there are none of the encoder's."""
        return self.spec.encoder_length

    @property
    def decoder_length(self) -> int:
        """L of the batch fields, 0 where there are none of the decoder's."""
        return self.spec.decoder_length

    @property
    def sources(self) -> "Mapping[str, BatchStream]":
        """The streams of single sources that it is made of, by name."""
        return {"data": self}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each source of a mixture in the examples, from now on."""
        return {}

    def counts(self, rows: int) -> dict[str, int]:
        """Return how many of the first ``rows`` are of each source of a mixture."""
        del rows
        return {}

    def first_rows(self, count: int) -> dict[str, np.ndarray]:
        """Return where the first ``count`` rows of each source are."""
        return {"data": np.arange(count)}

    def leave_out(self, left_out: LeftOut) -> None:
        """Leave these places of the stream out from now on; call it once, before batches are taken."""
        self.left_out = left_out
        if self.num_positions is not None:
            self.num_positions -= left_out.num_before(self.num_positions)
        self._reopen = functools.partial(_reopened, self._reopen, left_out)

    @abstractmethod
    def rows(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the fields of rows at these places of the endless stream of examples."""

    @abstractmethod
    def _take_skipped(self) -> Counter[str]:
        """Return what was skipped since this was last asked for."""

    def num_steps(self, batch_size: int, *, start: int = 0) -> int | None:
        """Return how many whole batches there are from position ``start`` on; None if there is no end."""
        return None if self.num_positions is None else max(self.num_positions - start, 0) // batch_size

    def batch(self, start: int, *, batch_size: int, rows: slice | None = None) -> dict[str, np.ndarray]:
        """Return rows of the global batch that begins at a position.

        Args:
          start: position of the first row of the global batch: the examples seen before it.
          batch_size: rows of the global batch.
          rows: this host's contiguous rows; None for all. Only these are computed.

        Raises:
          DataError: if the batch reaches beyond the end of the data.
        """
        fields, skipped = self.counted_batch(start, batch_size=batch_size, rows=rows)
        self.skipped.update(skipped)
        return fields

    def counted_batch(
        self, start: int, *, batch_size: int, rows: slice | None
    ) -> tuple[dict[str, np.ndarray], Counter[str]]:
        """Return ``batch`` and what was skipped for it, which is not counted."""
        first, last = row_bounds(rows, batch_size)
        if start < 0 or (self.num_positions is not None and start + batch_size > self.num_positions):
            raise DataError(
                f"a batch of the examples {start:,} to {start + batch_size - 1:,} does not exist: "
                f"{self.end} are {self.num_positions:,} rows; raise it or train for fewer steps"
            )
        return self.rows(self.left_out.places(start + np.arange(first, last))), self._take_skipped()

    def batches(
        self,
        *,
        batch_size: int,
        start: int = 0,
        rows: slice | None = None,
        num_workers: int = 0,
        num_steps: int | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield ``batch(start)``, ``batch(start + batch_size)`` and so on.

        Args:
          batch_size: rows of the global batch.
          start: position to begin at: the examples seen before; costs nothing.
          rows: this host's contiguous rows; None for all.
          num_workers: processes that prepare batches; 0 does it in this one. They are spawned, so a script
            that asks for them needs the usual ``if __name__ == "__main__"``.
          num_steps: how many batches; None goes on until the data ends.

        Raises:
          DataError: while iterating, if data is damaged.
          TransientError: while iterating, if workers died again and again.
        """
        row_bounds(rows, batch_size)
        available = self.num_steps(batch_size, start=start)
        left = _ENDLESS if available is None else available
        batches = _Batches(
            reopen=self._reopen,
            start=start,
            num_steps=max(left if num_steps is None else min(num_steps, left), 0),
            batch_size=batch_size,
            rows=rows,
            stream=None if num_workers else self,
        )
        return self._counted(
            from_workers(batches, num_workers)
            if num_workers
            else map(batches.__getitem__, range(len(batches)))
        )

    def _counted(
        self, batches: Iterator[tuple[dict[str, np.ndarray], Counter[str]]]
    ) -> Iterator[dict[str, np.ndarray]]:
        try:
            for fields, skipped in batches:
                self.skipped.update(skipped)
                yield fields
        finally:
            close: Any = getattr(batches, "close", None)
            if close is not None:
                close()


def row_bounds(rows: slice | None, batch_size: int) -> tuple[int, int]:
    """Return (first, last) of a host's contiguous rows; None stands for all.

    Raises:
      ConfigError: if ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
    if rows is None:
        return 0, batch_size
    first, last, stride = rows.start or 0, batch_size if rows.stop is None else rows.stop, rows.step or 1
    if not 0 <= first < last <= batch_size or stride != 1:
        raise ValueError(f"{rows} is no contiguous, non-empty part of {batch_size} rows")
    return first, last


def _reopened(reopen: Callable[[], BatchStream], left_out: LeftOut) -> BatchStream:
    stream = reopen()
    stream.leave_out(left_out)
    return stream


@dataclass
class _Batches:
    """What a worker process needs to compute batches: it opens the stores itself."""

    reopen: Callable[[], BatchStream]
    start: int
    num_steps: int
    batch_size: int
    rows: slice | None
    stream: BatchStream | None

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, index: Any) -> tuple[dict[str, np.ndarray], Counter[str]]:
        if self.stream is None:
            self.stream = self.reopen()
        start = self.start + int(index) * self.batch_size
        return self.stream.counted_batch(start, batch_size=self.batch_size, rows=self.rows)

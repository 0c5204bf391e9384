"""One thread that writes for all who ask: what waits is written together, in the order in which it came."""

import collections
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from t5lite.evaluation.stepwise_generation import Piece, StepwiseGenerator, Wanted

_LOG = logging.getLogger(__name__)


class OverloadedError(Exception):
    """Too much waits already."""


class StoppedError(Exception):
    """The engine was stopped before a text had ended."""


Deliver = Callable[[Piece | Exception], None]
"""Takes a piece, numbered as the text was among those of its job, or why there are no more."""


class Job:
    """What one request wants; ``cancel`` it when nobody waits any more."""

    def __init__(self, deliver: Deliver):
        self.deliver = deliver
        self.cancelled = False

    def cancel(self) -> None:
        """Write no more of it."""
        self.cancelled = True


class _Text(NamedTuple):
    job: Job
    number: int
    wanted: Wanted


class Engine:
    """Writes on a thread of its own, a batch at a time.

    Args:
      generator: what writes.
      params: its parameters.
      batch_size: texts at once.
      max_waiting: texts that may wait beside them.
    """

    def __init__(self, generator: StepwiseGenerator, params: Any, *, batch_size: int, max_waiting: int):
        self._generator, self._params = generator, params
        self._batch_size, self._max_waiting = batch_size, max_waiting
        self._waiting: collections.deque[_Text] = collections.deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="t5lite-serve", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the step under way; every job that has not ended is told."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until it has stopped."""
        self._thread.join()

    def submit(self, wanted: Sequence[Wanted], deliver: Deliver) -> Job:
        """Have texts written; ``deliver`` is called on the engine's thread.

        Raises:
          OverloadedError: if there is no room for them to wait in.
          StoppedError: if the engine was stopped.
        """
        job = Job(deliver)
        with self._changed:
            if self._stopped:
                raise StoppedError("the server is shutting down")
            waiting = sum(not text.job.cancelled for text in self._waiting)
            if waiting + len(wanted) > self._max_waiting:
                raise OverloadedError(
                    f"{waiting} texts are waiting, and {len(wanted)} more do not fit in the "
                    f"{self._max_waiting} that may; try again later"
                )
            self._waiting.extend(_Text(job, number, each) for number, each in enumerate(wanted))
            self._changed.notify_all()
        return job

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._write(batch)
            except Exception as error:  # of the devices: the next batch may fit
                _LOG.exception("a batch of %d texts failed", len(batch))
                _tell(batch, error)
        with self._changed:
            _tell(self._waiting, StoppedError("the server was shut down"))
            self._waiting.clear()

    def _next_batch(self) -> list[_Text]:
        """Return what waits, the first and those after it that fit beside it; nothing once stopped."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._stopped or self._waiting)
                if self._stopped:
                    return []
                batch: list[_Text] = []
                while self._waiting and len(batch) < self._batch_size:
                    text = self._waiting[0]
                    together = [*(each.wanted for each in batch), text.wanted]
                    if not text.job.cancelled and batch and not self._generator.fit_together(together):
                        break
                    self._waiting.popleft()
                    if not text.job.cancelled:
                        batch.append(text)
                if batch:
                    return batch

    def _write(self, batch: list[_Text]) -> None:
        writing = self._generator.write(self._params, [text.wanted for text in batch])
        ended: set[int] = set()
        while writing.unfinished:
            for piece in writing.step():
                text = batch[piece.number]
                if piece.finish is not None:
                    ended.add(piece.number)
                text.job.deliver(piece._replace(number=text.number))
            for number, text in enumerate(batch):
                if text.job.cancelled:
                    writing.end(number)
            if self._stopped:
                unended = [text for number, text in enumerate(batch) if number not in ended]
                _tell(unended, StoppedError("the server was shut down"))
                return


def _tell(texts: Sequence[_Text] | collections.deque[_Text], error: Exception) -> None:
    for job in {id(text.job): text.job for text in texts if not text.job.cancelled}.values():
        job.deliver(error)

"""Writes what a run cost, over all its starts: one small file an attempt, written anew while that lasts.

Nothing is appended to, so that it works in a bucket as on a disk, and an attempt writes to its own file
alone. One that ended without a word (``kill -9``, a host that is lost) has no end in its file, and the last
time that it was written bounds when that was.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from t5lite.core import machine_errors
from t5lite.core.errors import ReportedError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.files import write_json
from t5lite.core.process_end import last_words
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.storage.retries import RETRIES
from t5lite.partitioning.lost_processes import explained
from t5lite.training.attempts import (
    LEDGER_FOLDER,
    Attempt,
    End,
    PhaseSeconds,
    entry_names,
    number_of,
    read_attempts,
    to_json,
)
from t5lite.training.goodput import goodput
from t5lite.training.incidents import IncidentKind, Incidents
from t5lite.training.phase_clock import PhaseClock

_WRITE_SECONDS = 10.0


class Ledger:
    """Writes the entry of one attempt; a context manager for the leader of a run that may write.

    Args:
      directory: the run directory.
      clock: of this process.
      first_step: steps done before.
      found_step: the newest step that the metrics file tells of, done by whoever was killed after it.
      num_processes: that take part.
      num_devices: of all of them.
      waited_seconds: since the start, for the lease.
      job: the scheduler's name for it.
      program: a digest of what it runs.
      say: shows a line.
      before_write: raises a ``ReportedError`` where another run has taken the directory over.
    """

    def __init__(
        self,
        directory: StoragePath,
        clock: PhaseClock,
        *,
        first_step: int,
        found_step: int,
        num_processes: int,
        num_devices: int,
        waited_seconds: float,
        job: str | None,
        program: str | None = None,
        say: Callable[[str], None],
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._clock, self._say = directory / LEDGER_FOLDER, clock, say
        self._before, notes = read_attempts(directory)
        for note in notes:
            say(note)
        self._number = 1 + max(map(number_of, entry_names(self._folder)), default=0)
        self._before_write = before_write
        self._facts = {
            "found_step": found_step,
            "num_processes": num_processes,
            "num_devices": num_devices,
            "waited_seconds": waited_seconds,
            "job": job,
            "program": program,
        }
        self._steps = (first_step, first_step, 0)  # one value: another thread reads it
        self._incidents = asdict(Incidents())  # of one size: another thread reads it
        self.left_out_examples = 0
        """Whoever leaves some out says how many."""
        self._end: End | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._num_failed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_now_and_then, name="ledger", daemon=True)
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Ledger":
        self._write()
        self._resources.enter_context(last_words(self._end_at_once))
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._resources.close()
        self._stop.set()
        self._thread.join()
        if error is not None:
            self._end = _end_of(error)
        self._write(last=True)

    @property
    def entry(self) -> Attempt:
        """The attempt as it stands."""
        first_step, last_step, num_steps = self._steps
        return Attempt(
            number=self._number,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self._clock.started,
            seconds=PhaseSeconds(**self._clock.seconds()),
            first_step=first_step,
            last_step=last_step,
            num_steps=num_steps,
            retried_requests=RETRIES.total,
            incidents=Incidents(**self._incidents),
            left_out_examples=self.left_out_examples,
            end=self._end,
            **self._facts,
        )

    def reached(self, step: int) -> None:
        """Count a step that is done; one at or below the last means that the run had gone back."""
        first_step, _, num_steps = self._steps
        self._steps = (min(first_step, step - 1), step, num_steps + 1)

    def met(self, what: IncidentKind, count: int = 1) -> None:
        """Count what did not end the run."""
        self._incidents[what] += count

    def incidents(self) -> dict[str, int]:
        """Return what the run met up to now, over all attempts, by name; what it did not is not there."""
        incidents = Incidents.sum(each.incidents for each in [*self._before, self.entry])
        counts = {"left_out_examples": self.left_out_examples, **asdict(incidents)}
        return {name: count for name, count in counts.items() if count}

    def goodput(self) -> float:
        """Return the goodput of the run up to now."""
        return goodput([*self._before, self.entry]).share

    def finish(self, reason: Literal["finished", "preempted"], exit_code: int) -> None:
        """Say how the attempt is about to end; an error after that counts more."""
        self._end = End(reason=reason, exit_code=exit_code)

    def _end_at_once(self, exit_code: int) -> None:
        self._end = End(reason="ended", exit_code=exit_code)
        self._write(last=True)

    def _write_now_and_then(self) -> None:
        while not self._stop.wait(_WRITE_SECONDS):
            self._write()

    def _write(self, *, last: bool = False) -> None:
        """Write the entry; what fails is said once: no run should end for its ledger."""
        with self._lock:
            if self._closed:
                return
            self._closed = last
            try:
                self._before_write()
                write_json(self._folder / f"{self._number:06d}.json", to_json(self.entry))
            except (ReportedError, OSError) as error:
                self._num_failed += 1
                if self._num_failed == 1:
                    self._say(
                        f"what this attempt costs is not recorded ({error}); tried again while it lasts"
                    )


def _end_of(error: BaseException) -> End:
    if isinstance(error, KeyboardInterrupt):
        return End(reason="failed", exit_code=ExitCode.INTERRUPTED, message="interrupted")
    code, text = 1, f"{type(error).__name__}: {error}"
    if isinstance(error, Exception):
        told = explained(error)
        known = machine_errors.exit_code(told)
        if known is not None:
            code, text = known, machine_errors.description(told)
    return End(reason="failed", exit_code=code, message=" ".join(text.split()))

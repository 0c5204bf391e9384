"""How long a process has been in each phase since its start."""

import threading
import time
from collections import defaultdict
from typing import Literal

from t5lite.training.phases import Phase, Phases

TimedPhase = Phase | Literal["other"]
"""``other`` is between two phases: entries are written, parts are closed."""


class PhaseClock:
    """Adds up the seconds in each phase; may be read from any thread.

    What comes between two phases counts as start-up until the loop has begun to wait for its first batch.
    """

    def __init__(self, phases: Phases) -> None:
        self.started = time.time()
        """Unix time, for people: durations are never differences of it."""
        self._lock = threading.Lock()
        self._seconds: defaultdict[TimedPhase, float] = defaultdict(float)
        self._current: TimedPhase = "startup"
        self._since = time.monotonic()
        self._between: TimedPhase = "startup"
        phases.observe(self._enter)

    def seconds(self) -> dict[TimedPhase, float]:
        """Return the seconds in each phase up to now; their sum is the time since the start."""
        with self._lock:
            spent = time.monotonic() - self._since
            return {**self._seconds, self._current: self._seconds[self._current] + spent}

    def _enter(self, phase: Phase | None, when: float) -> None:
        with self._lock:
            self._seconds[self._current] += when - self._since
            self._since = when
            if phase == "input":
                self._between = "other"
            self._current = phase or self._between

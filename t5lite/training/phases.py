"""Which phase of a run a process is in: what deadlines are set for, and what time is spent on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal["startup", "restore", "compile", "input", "step", "save", "evaluation"]
"""``startup`` is all before the first of the others; ``input`` is waiting for a batch."""

PhaseObserver = Callable[[Phase | None, float], None]
"""Is called with the phase that begins (None: between two) and ``time.monotonic()``, on the same thread;
what it raises ends the run."""


class Phases:
    """The phases that a process is in, one inside the other; the innermost is the current one.

    Entering a phase again is a new beginning: a deadline of ``step`` is one of a single step.
    """

    def __init__(self) -> None:
        self._stack: list[Phase] = []
        self._observers: list[PhaseObserver] = []

    @property
    def current(self) -> Phase | None:
        """The innermost phase, None between two."""
        return self._stack[-1] if self._stack else None

    def observe(self, observer: PhaseObserver) -> None:
        """Call ``observer`` at every change from now on, and once for the current phase."""
        self._observers.append(observer)
        observer(self.current, time.monotonic())

    def progress(self) -> None:
        """Begin the current phase anew: of what it does again and again, each has the deadline for itself."""
        self._tell()

    @contextmanager
    def enter(self, phase: Phase) -> Iterator[None]:
        """Be in ``phase`` during the block, and after it again in what was the phase before."""
        self._stack.append(phase)
        try:
            self._tell()
            yield
        finally:
            self._stack.pop()
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        for observer in self._observers:
            observer(self.current, now)

"""Stop between two steps when the scheduler (SIGTERM) or the user (Ctrl-C) asks for it.

A single process sets a flag in its signal handler, and the loop looks at the flag after every step. Many
processes must stop after the *same* step, or they would wait for each other in a collective forever. JAX's
preemption service settles that without a collective: it catches SIGTERM in any process, tells the others
through the coordinator, and names a step that none has passed yet. So with several processes SIGTERM is
left to that service, SIGINT is handed on to it, and asking whether to stop is a local call.
"""

import os
import signal
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preemption:
    """A context manager that turns SIGTERM and SIGINT into ``requested``; handlers are restored at its end.

    A second SIGINT raises ``KeyboardInterrupt`` at once. Enter it in the main thread, after
    ``multihost.initialize``.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._previous: dict[int, Any] = {}
        self._coordinated = False

    def __enter__(self) -> "Preemption":
        self._coordinated = jax.process_count() > 1
        handled = (signal.SIGINT,) if self._coordinated else (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore_handlers()

    def requested(self, step: int) -> bool:
        """Whether to save and stop now that ``step`` steps are done. All processes get the same answer.

        With several processes every one must ask after every step, starting from the same step.
        """
        if self._coordinated:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._signal is not None

    @property
    def signal(self) -> signal.Signals:
        """The signal that this process got; SIGTERM where another process did and told the others."""
        return self._signal or signal.SIGTERM

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._signal is not None and number == signal.SIGINT:
            self._restore_handlers()
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
        hint = "; press Ctrl-C again to abort without saving" if number == signal.SIGINT else ""
        # os.write: print() may not be entered again from a signal handler that interrupted it.
        os.write(2, f"\n{self._signal.name}: saving after this step{hint}\n".encode())
        if self._coordinated:
            os.kill(os.getpid(), signal.SIGTERM)

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

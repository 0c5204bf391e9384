"""What SIGTERM, SIGINT (Ctrl-C) and SIGHUP do to a run, in whatever phase they come.

Once a step was done, the run stops where its state is whole and saves it: between two steps, between two
batches of an evaluation, or while it waits for data. Before that there is nothing to lose, and the process
ends at once, also where its main thread is in native code for minutes (joining, restoring, compiling) and
runs no Python handler. So a thread reads the signals, from the file descriptor that C handlers write to.

Many processes must stop at the *same* place, or they would wait for each other in a collective for ever.
JAX's preemption service settles that without a collective: told of a signal in any process, it tells the
others through the coordinator, and names a place that none has passed yet. Its own handler of SIGTERM is what
tells it; ``coordinate`` puts ours before that one.
"""

import contextlib
import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from t5lite.core.process_end import end_now
from t5lite.training.phases import Phase, Phases

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_SECONDS = 0.2
_PATIENCE_SECONDS = 3.0
"""How long the loop has to stop by itself before the process is ended where that loses nothing, or where it
can save nothing: of several processes, one that has no data can do no step at which all would save."""


class StopRequested(Exception):
    """A signal asks to stop, raised where the state is whole."""


class Preemption:
    """A context manager that turns signals into ``requested``; the handlers before it return at its end.

    A second SIGINT ends the process at once. A SIGHUP that is ignored (nohup) stays so. Enter it in the main
    thread.

    Args:
      phases: of the process; tell whether a step was done and what the main thread is doing.
    """

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        self.saved: Callable[[], bool] = lambda: False
        """Whether all steps that were done are on disk; called by another thread than the main one."""
        self._signal: signal.Signals | None = None
        self._since: float | None = None
        self._previous: dict[int, Any] = {}
        self._tell_jax: Callable[[int], None] | None = None
        self._num_asked = 0
        self._agreed = False
        self._phase: Phase | None = None
        self._phase_since = 0.0
        self._stepped = False

    def __enter__(self) -> "Preemption":
        self.phases.observe(self._enter_phase)
        read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._previous_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._install()
        self._thread = threading.Thread(target=self._watch, args=(read,), name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._write)  # which ends the thread
        self._thread.join()

    def coordinate(self) -> None:
        """Stop together with the other processes from now on; call after joining them, in the main thread.

        Without other processes it does nothing.
        """
        if jax.process_count() == 1:
            return
        handler_type = ctypes.CFUNCTYPE(None, ctypes.c_int)
        set_handler = ctypes.CDLL(None).signal
        set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        # The handler that JAX installed over ours only sets a flag, so that any thread may call it.
        self._tell_jax = handler_type(set_handler(signal.SIGTERM, None))
        signal.signal(signal.SIGTERM, self._handle)

    def requested(self) -> bool:
        """Whether to stop here, where the state is whole. All processes get the same answer.

        With several processes every one must ask in the same places.
        """
        if self._tell_jax is not None:
            self._num_asked += 1
            # The agreed place is reached once; the answer stays, also if the run is rolled back there.
            self._agreed = self._agreed or multihost_utils.reached_preemption_sync_point(self._num_asked)
            return self._agreed
        return self._signal is not None

    def check(self) -> None:
        """Ask as ``requested`` does, and raise ``StopRequested`` if so."""
        if self.requested():
            raise StopRequested

    def check_alone(self) -> None:
        """Raise ``StopRequested`` if a signal came to a process that has no others to stop with."""
        if self._tell_jax is None and self._signal is not None:
            raise StopRequested

    def _install(self) -> None:
        for number in _HANDLED:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take note at once where Python can; C has written to the pipe already, which the thread reads."""
        del frame
        self._signal = self._signal or signal.Signals(number)

    def _enter_phase(self, phase: Phase | None, when: float) -> None:
        self._stepped = self._stepped or (self._phase == "step" and phase != "step")
        self._phase, self._phase_since = phase, when

    def _watch(self, pipe: int) -> None:
        """Take the signals that come in until the other end is closed; end what cannot stop by itself."""
        while True:
            timeout = None if self._since is None else _TICK_SECONDS
            if select.select([pipe], [], [], timeout)[0]:
                numbers = os.read(pipe, 64)
                if not numbers:
                    os.close(pipe)
                    return
                for number in numbers:
                    if number in self._previous:
                        self._take(signal.Signals(number))
            if self._since is not None:
                self._end_if_nothing_can_be_lost(time.monotonic() - self._since)

    def _take(self, number: signal.Signals) -> None:
        if self._since is not None:
            if number == signal.SIGINT:
                _end(number, "stopped without saving")
            return
        self._signal, self._since = self._signal or number, time.monotonic()
        if number == signal.SIGHUP:
            _leave_terminal()
        if not self._stepped:
            _end(self._signal, "stopped before the first step; nothing is lost")
        hint = "; press Ctrl-C again to abort without saving" if number == signal.SIGINT else ""
        _say(f"{number.name}: stopping and saving{hint}")
        if self._tell_jax is not None:
            self._tell_jax(signal.SIGTERM)

    def _end_if_nothing_can_be_lost(self, seconds: float) -> None:
        """End the process where the loop had ``seconds`` to stop and did not, or need not save."""
        if seconds < _PATIENCE_SECONDS:
            return
        if self._phase in ("evaluation", "compile") and self.saved():
            _end(self.signal, "stopped; all steps are saved")
        waits = time.monotonic() - self._phase_since >= _PATIENCE_SECONDS  # others step on until all may stop
        if self._phase == "input" and waits and self._tell_jax is not None:
            _end(
                self.signal,
                "stopped without data, so without another save; the newest checkpoint stands",
            )

    @property
    def asked_by(self) -> signal.Signals | None:
        """The signal that this process got, None without one."""
        return self._signal

    @property
    def signal(self) -> signal.Signals:
        """The signal that this process got; SIGTERM where another process did and told the others."""
        return self._signal or signal.SIGTERM


def _say(text: str) -> None:
    # os.write: the main thread may be inside of print(). What is told to nobody need not be said.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _end(number: signal.Signals, reason: str) -> None:
    _say(f"{number.name}: {reason}")
    end_now(128 + number)


def _leave_terminal() -> None:
    """Put /dev/null in the place of a terminal that has gone, to which nothing can be written any more."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)

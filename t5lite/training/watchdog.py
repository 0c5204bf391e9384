"""End a process that is stuck, with the reason, the stacks of its threads and an exit code of its own.

A thread watches in which phase the process is and for how long. It needs neither the main thread, which may
be in native code for good, nor the run directory, which may be what hangs.
"""

import contextlib
import os
import socket
import statistics
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, fields
from types import FrameType

from t5lite.core.errors import ConfigError, ReportedError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.files import write_text
from t5lite.core.process_end import end_now
from t5lite.core.storage.addresses import StoragePath
from t5lite.training.phases import Phase, Phases

STACKS_FOLDER = "stacks"
"""Of the run directory; a file for each process that was ended."""

_TICK_SECONDS = 1.0
_REPORT_SECONDS = 10.0
"""How long reporting may take: standard error or the run directory may be what hangs."""
_TYPICAL_STEPS = 20
"""Times the median of its steps that a step may take, where that is more than ``step_seconds``."""
_REMEMBERED_STEPS = 101

_MEANING: dict[Phase, str] = {
    "startup": "another process, the network or the run directory does not answer",
    "restore": "the checkpoint cannot be read",
    "compile": "the compiler does not come to an end",
    "input": "the input stalls (a data worker, its store or the network), not the devices",
    "step": "a device, or another process that takes part in the step, does not answer",
    "save": "the checkpoint cannot be written, or another process does not take part",
    "evaluation": "a device, the held-out data or another process does not answer",
}


@dataclass(frozen=True, kw_only=True)
class WatchdogConfig:
    """How many seconds a process may be in one phase before it is ended as stuck; None never ends it."""

    startup_seconds: float | None = 1800.0
    """Joining the other processes, opening data, building the model and its state."""
    restore_seconds: float | None = 3600.0
    """Reading the checkpoint, or the parameters of another run."""
    compile_seconds: float | None = 7200.0
    input_seconds: float | None = 600.0
    """Waiting for one batch."""
    step_seconds: float | None = 900.0
    """One step, or 20 times the median of the last 101 steps where that is more; the first may also take
    ``compile_seconds``, for which another process may be late."""
    save_seconds: float | None = 3600.0
    """Copying the state and waiting until an earlier save is written."""
    evaluation_seconds: float | None = 3600.0
    """One batch of an evaluation, compilation included."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and value <= 0:
                raise ConfigError(f"watchdog.{each.name}={value} must be positive, or None for no deadline")

    def seconds(self, phase: Phase) -> float | None:
        """Return the deadline of ``phase``."""
        return getattr(self, _field(phase))


def _field(phase: Phase) -> str:
    return f"{phase}_seconds"


class Watchdog:
    """A context manager in which a process that is too long in one phase is ended with ``ExitCode.HANG``.

    What happens between two phases (an entry of the metrics file is written, say) counts as a step, or as
    start-up before the first step. Time in which the whole process was stopped (SIGSTOP, a suspended machine)
    does not count.

    Args:
      phases: what is watched; entered on another thread than the watchdog's.
      config: the deadlines.
      directory: the run directory, which takes the stacks.
    """

    def __init__(self, phases: Phases, config: WatchdogConfig, directory: StoragePath) -> None:
        self._phases, self._config, self._directory = phases, config, directory
        deadlines = [getattr(config, each.name) for each in fields(config)]
        self._tick = min([_TICK_SECONDS, *(seconds / 4 for seconds in deadlines if seconds)])
        self._steps: deque[float] = deque(maxlen=_REMEMBERED_STEPS)
        self._is_another_step = True
        self._began: tuple[Phase | None, float] = (None, time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._phases.observe(self._enter_phase)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def _enter_phase(self, phase: Phase | None, when: float) -> None:
        before, since = self._began
        if before == "step":
            if self._is_another_step:
                self._steps.append(when - since)
            else:
                self._steps[-1] += when - since
            self._is_another_step = False
        if phase == "input":  # a step that is entered again without it is the one under way
            self._is_another_step = True
        self._began = (phase, when)

    def _watch(self) -> None:
        last, seen, spent = time.monotonic(), self._began, 0.0
        while not self._ended.wait(self._tick):
            now = time.monotonic()
            # A process that is stopped and goes on finds a long tick: that time was nobody's.
            elapsed, last = min(now - last, 2 * self._tick), now
            if self._began is not seen:
                seen, spent = self._began, 0.0
                continue
            spent += elapsed
            phase = seen[0] or ("step" if self._steps else "startup")
            limit = self._limit(phase)
            if limit is not None and spent >= limit:
                self._end(phase, spent, limit)

    def _limit(self, phase: Phase) -> float | None:
        limit = self._config.seconds(phase)
        if limit is None or phase != "step":
            return limit
        if not self._steps:
            compiling = self._config.seconds("compile")
            return compiling and max(limit, compiling)
        return max(limit, _TYPICAL_STEPS * statistics.median(list(self._steps)))

    def _end(self, phase: Phase, spent: float, limit: float) -> None:
        """Report and end the process, whether or not the report gets through."""
        reporter = threading.Thread(target=self._report, args=(phase, spent, limit), daemon=True)
        reporter.start()
        reporter.join(_REPORT_SECONDS)
        end_now(ExitCode.HANG)

    def _report(self, phase: Phase, spent: float, limit: float) -> None:
        host, pid = socket.gethostname(), os.getpid()
        text = (
            f"t5lite: stuck: process {pid} on {host} is in the phase {phase!r} for {spent:.0f} s "
            f"(watchdog.{_field(phase)}={limit:g}): {_MEANING[phase]}; exit code {ExitCode.HANG:d}: the same "
            "command goes on from the newest checkpoint"
        )
        stacks = _stacks()
        with contextlib.suppress(OSError):  # nobody reads them any more; the file has them
            os.write(2, f"\n{text}\n{stacks}".encode(errors="backslashreplace"))
        try:
            write_text(self._directory / STACKS_FOLDER / f"{host}-{pid}.txt", f"{text}\n{stacks}")
        except (ReportedError, OSError) as error:
            os.write(2, f"t5lite: the stacks are written here alone: {error}\n".encode())


def _stacks() -> str:
    """Return where every thread is, innermost call first; reads no source files, whose disk may hang."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: list[str] = []
    for ident, frame in sys._current_frames().items():
        lines.append(f"thread {names.get(ident, ident)}:")
        each: FrameType | None = frame
        while each is not None:
            lines.append(f"  {each.f_code.co_filename}:{each.f_lineno} in {each.f_code.co_qualname}")
            each = each.f_back
    return "".join(f"{line}\n" for line in lines)

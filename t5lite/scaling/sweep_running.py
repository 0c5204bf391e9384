"""Runs a sweep's runs here, one after another, each as a process of ``t5lite train``.

A process of its own means that a run which is killed (for memory, say) takes no other with it. Who writes
to a run directory holds its lease, so several machines may work on one sweep: what one has is left to it.
"""

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from t5lite import run_config
from t5lite.checkpointing.lease import sighting
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import ReportedError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.runner.snapshot import Snapshot
from t5lite.scaling.sweep_measures import is_measured
from t5lite.scaling.sweeps import SweepRun

_FINISHED = "finished"
_SILENT = "silent"
_ELSEWHERE = ("starting", "running", "stopping")
"""States of a run that another process has."""
_MOST_STARTS = 3
"""Of a run that ends with a code that asks for another start."""
_REFUSED = (ExitCode.USER_ERROR, ExitCode.TRANSIENT)
"""Codes of a start that may have found the directory held. After others the claim is that of the run itself,
which where processes cannot be told apart looks as if it lived."""
_BY_SIGNAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Outcome:
    """What became of a sweep's runs, by their ids."""

    done: list[str] = field(default_factory=list)
    """Finished, here or before."""
    elsewhere: list[str] = field(default_factory=list)
    """Being trained by another process."""
    waiting: list[str] = field(default_factory=list)
    """For the checkpoint of a shorter run that they go on from."""
    failed: dict[str, int] = field(default_factory=dict)
    """With their exit codes."""
    stopped_by: int | None = None
    """The signal that ended the sweep."""

    @property
    def exit_code(self) -> int:
        """128 + the signal; the code of the first run that failed; else 0."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return next(iter(self.failed.values()), ExitCode.DONE)


class Processes:
    """Starts ``t5lite`` in processes of its own, and hands them the signals that this one gets."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._is_told = False
        self.stopped_by: int | None = None

    def run(self, words: Sequence[str]) -> int:
        """Run a command to its end and return its exit code, 128 + the signal of one that was killed.

        After a signal nothing is started any more.
        """
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        child = subprocess.Popen([sys.executable, "-m", "t5lite.cli.main", *words])
        self._child = child
        if self.stopped_by is not None and not self._is_told:  # it came while the process was made
            child.send_signal(self.stopped_by)
        code = child.wait()
        self._child = None
        return code if code >= 0 else 128 - code

    def train(self, run: SweepRun) -> int:
        """Train a run as ``t5lite train`` does."""
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder) / f"{run.id}.json"
            run_config.save(run.started, recipe)
            return self.run(["train", "--config", str(recipe)])

    def evaluate(self, run: SweepRun) -> int:
        """Measure a run as ``t5lite evaluate`` does."""
        return self.run(["evaluate", "--run", str(run.directory.path)])

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """End the sweep by a signal only when its run has saved.

        Ctrl-C reaches the run by itself, as one of the terminal's; the others are handed on.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            del frame
            self.stopped_by = number
            if self._child is not None:
                self._is_told = True
                if number != signal.SIGINT:
                    self._child.send_signal(number)

        # What is ignored (SIGHUP, by nohup) stays so.
        heeded = [number for number in _BY_SIGNAL if signal.getsignal(number) != signal.SIG_IGN]
        before: dict[int, Any] = {number: signal.signal(number, stop) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_all(
    runs: Sequence[SweepRun],
    processes: Processes,
    *,
    evaluate: bool,
    say: Say,
    finished: Callable[[SweepRun], None],
) -> Outcome:
    """Run what is not done, and go on where one fails.

    Args:
      runs: in this order.
      processes: what starts them.
      evaluate: whether to measure those that are trained.
      say: shows a line.
      finished: is called with each run that is finished, be it from before.
    """
    outcome, held = Outcome(), set[str]()

    def takes(run: SweepRun, name: str) -> bool:
        """Run it to its end; return False if it waits, or another process has it."""
        try:
            if run.id in held:
                if _is_still_held(run, evaluate):
                    return False
                held.discard(run.id)
            ready = as_it_can_start(run, name, say)
            if ready is None:
                return False
            code = _trained(ready, name, processes, say)
            if code is None:
                held.add(run.id)
                return False
            if code == ExitCode.DONE and evaluate and run.config.evaluations and not _is_measured(run):
                code = processes.evaluate(run)
            if code == ExitCode.DONE:
                finished(run)
        except ReportedError as error:
            say(f"{name}: {error}")
            if run.id in held:
                return False
            code = error.exit_code
        if code == ExitCode.DONE:
            outcome.done.append(run.id)
        elif processes.stopped_by is None:
            outcome.failed[run.id] = code
            say(f"{name} failed with code {code}; the others go on")
        return True

    left = [(run, f"{number}/{len(runs)} {run.family} {run.id}") for number, run in enumerate(runs, start=1)]
    num_left = len(left) + 1
    while len(left) < num_left and processes.stopped_by is None:
        # Meanwhile another process may have come to where those go on that waited, or be done, or killed.
        num_left, waiting = len(left), []
        for run, name in left:
            if processes.stopped_by is None and not takes(run, name):
                waiting.append((run, name))
        left = waiting
    outcome.stopped_by = processes.stopped_by
    for run, name in left:
        if run.id in held:
            outcome.elsewhere.append(run.id)
        elif outcome.stopped_by is None:
            outcome.waiting.append(run.id)
            say(f"{name}: {_lacks(run)}")
    return outcome


def lacking(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Return the shorter runs that some runs go on from, and that must be trained before them.

    Raises:
      TransientError: if object storage does not answer.
    """
    known, ahead = {run.id for run in runs}, list(runs)
    found = []
    for run in ahead:
        if run.trunk is not None and run.trunk.run.id not in known and not _can_start(run):
            known.add(run.trunk.run.id)
            found.append(run.trunk.run)
            ahead.append(run.trunk.run)
    return found[::-1]


def _can_start(run: SweepRun) -> bool:
    """Whether a run has begun, or what it goes on from is there; one that is finished needs it no more."""
    return (
        run.trunk is None
        or bool(available_steps(run.directory.checkpoints))
        or run.trunk.step in available_steps(run.trunk.run.directory.checkpoints)
        or run.state()[0] == _FINISHED
    )


def as_it_can_start(run: SweepRun, name: str, say: Say) -> SweepRun | None:
    """Return the run; without its trunk where that will never be there; None while it may come.

    Either way it is the same run, but for what it costs.

    Args:
      run: of a sweep.
      name: of the run, for what is said.
      say: shows a line.

    Raises:
      ConfigError: if the directory of one of the two holds something else.
      TransientError: if object storage does not answer.
    """
    if run.trunk is None or _can_start(run):
        return run
    if run.trunk.run.state()[0] != _FINISHED:
        return None
    say(
        f"{name}: {run.trunk.run.id} is finished and keeps no checkpoint of step {run.trunk.step:,}: trained "
        "from the start"
    )
    return replace(run, trunk=None)


def _lacks(run: SweepRun) -> str:
    assert run.trunk is not None
    holder = None
    with contextlib.suppress(TransientError):
        holder = _holder(run.trunk.run)
    by = f"{holder} is training" if holder else "is not trained so far"
    return f"waits for step {run.trunk.step:,} of {run.trunk.run.id}, which {by}; run the command again"


def _trained(run: SweepRun, name: str, processes: Processes, say: Say) -> int | None:
    """Return the code with which a run ended; None if another process has it."""
    state, _ = run.state()
    if state == _FINISHED:
        return ExitCode.DONE
    if state in _ELSEWHERE:
        say(f"{name}: being trained by {_holder(run)}; left to it")
        return None
    count, total = run.count, run.config.training.total_steps
    saved = available_steps(run.directory.checkpoints)  # it may have come further than it has saved
    begun = f", from step {saved[-1]:,}" if saved else ""
    if run.trunk is not None and not saved:
        begun = f", from step {run.trunk.step:,} of {run.trunk.run.id}"
    say(
        f"{name}: {count.params:,} parameters, {count.tokens:.3g} tokens, {count.flops:.3g} FLOPs, "
        f"{total:,} steps{begun}"
    )
    code = None
    for _ in range(_MOST_STARTS):
        code = processes.train(run)
        if code == ExitCode.DONE or processes.stopped_by is not None:
            return code
        if code in _REFUSED and _holder(run) is not None:
            say(f"{name}: another process was faster; left to it")
            return None
        if code in _REFUSED and run.state()[0] == _FINISHED:
            say(f"{name}: another process was faster, and has finished it")
            return ExitCode.DONE
        if code not in (ExitCode.TRANSIENT, ExitCode.HANG):
            break
    return code


def _holder(run: SweepRun) -> str | None:
    """Return who has the run's directory, None if nobody does."""
    seen = sighting(run.directory.path)
    return None if seen is None or seen.is_gone else str(seen.holder or "a process that cannot be named")


def _is_still_held(run: SweepRun, evaluate: bool) -> bool:
    """Whether another process still trains a run that it had, or is about to measure it.

    A machine that ended with all that ran on it leaves its claim behind, which then falls silent.
    """
    state, _ = run.state()
    if state == _FINISHED:
        return evaluate and bool(run.config.evaluations) and not _is_measured(run)
    return state != _SILENT and _holder(run) is not None


def _is_measured(run: SweepRun) -> bool:
    _, step = run.state()
    return is_measured(Snapshot(run.directory), step)

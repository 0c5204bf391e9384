"""When a run saves, and what it does when that fails: it says so, tries again, and goes on or stops."""

import time
from collections.abc import Callable

from t5lite.checkpointing.manager import Checkpoints, SaveFailedError
from t5lite.partitioning import multihost

_TRIES_AT_ONCE = 3
"""Failures in a row after which the next try waits for the schedule; tries of the last save of a run."""

_UNKEPT = "checkpoints.keep_steps names it, and the next save is of a later step"

StartSave = Callable[[], object]
"""Calls ``Checkpoints.save`` with the state as it is now."""


class Saver:
    """Saves when it is due and goes on at once; where a save fails, does what the configuration says.

    A failed save is noticed at the next step. What it was to hold is gone by then (the devices have the next
    state in its place), so the try that follows saves the state as it is then.

    Args:
      checkpoints: of the run.
      say: shows one line.
      failed: is called for every save that failed.
      clock: seconds that pass.
      pause: waits that many seconds before the last save is tried again.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        say: Callable[[str], None],
        *,
        failed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._checkpoints, self._say, self._failed, self._pause = checkpoints, say, failed, pause
        minutes = checkpoints.config.save_every_minutes
        self._timer = None if minutes is None else SaveTimer(60 * minutes, clock)
        self._failures = 0
        self._tries_again = False

    def is_due(self, step: int) -> bool:
        """Whether to save after this step; all processes must ask after every step.

        Raises:
          SaveFailedError: if the save under way has failed and that is to stop the run.
        """
        self._take_note(self._checkpoints.poll, confirms=True)
        by_time = self._timer is not None and self._timer.is_due(step)
        config = self._checkpoints.config
        by_step = step % config.save_every_steps == 0 or step in config.keep_steps
        return by_time or by_step or self._tries_again

    def save(self, start: StartSave) -> None:
        """Wait for the save under way and start the next.

        Raises:
          SaveFailedError: if either failed and that is to stop the run.
        """
        self._take_note(self._checkpoints.wait, confirms=True)
        self._tries_again = False
        self._take_note(start)
        if self._timer is not None:
            self._timer.restart()

    def put_off(self, step: int) -> None:
        """Say so where this was a step to keep: a save that waits for a good step is of a later one."""
        if step in self._checkpoints.config.keep_steps:
            self._say(f"step {step} is bad, and not saved: {_UNKEPT}")

    def settle(self) -> None:
        """Wait for the save under way, before the run goes back.

        Raises:
          SaveFailedError: if it failed and that is to stop the run.
        """
        self._take_note(self._checkpoints.wait, confirms=True)

    def finish(self, start: StartSave) -> None:
        """Save the last state of the run, and wait until it is there.

        Raises:
          SaveFailedError: if that failed several times, or once where that is to stop the run.
        """
        self._take_note(self._checkpoints.wait, confirms=True)
        for tries in range(1, _TRIES_AT_ONCE + 1):
            try:
                start()
                self._checkpoints.wait()
            except SaveFailedError:
                self._failed()
                if self._stops or tries == _TRIES_AT_ONCE:
                    raise
                self._pause(tries)
            else:
                self._say_notes()
                return

    @property
    def _stops(self) -> bool:
        return self._checkpoints.config.on_save_failure == "stop"

    def _take_note(self, act: Callable[[], object], *, confirms: bool = False) -> None:
        """Do what may tell of a save that failed, or ``confirms`` that one is there, and say it."""
        try:
            ended = act()
        except SaveFailedError as error:
            self._failed()
            if self._stops:
                raise
            self._failures += 1
            self._tries_again = self._failures < _TRIES_AT_ONCE
            self._say(
                f"step {error.step} is not saved ({error.cause}), failed saves in a row: {self._failures}; "
                f"the checkpoints before it stay, and it is tried again {self._next_try}"
                f"{f'; {_UNKEPT}' if error.step in self._checkpoints.config.keep_steps else ''}"
            )
        else:
            if confirms and ended and self._failures:
                self._say(f"saved again; failed saves before that: {self._failures}")
                self._failures = 0
        self._say_notes()

    def _say_notes(self) -> None:
        while self._checkpoints.notes:
            self._say(self._checkpoints.notes.pop(0))

    @property
    def _next_try(self) -> str:
        return "after the next step" if self._tries_again else "when the next save is due"


class SaveTimer:
    """Says that a save is due once so much time has passed, in all processes after the same step.

    Only the leader's clock counts. Its answer also says after how many steps to ask again, half of those that
    it expects until the time has come: so the processes need to agree a few times a save, not at every step.

    Args:
      seconds: between saves.
      clock: seconds that pass.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._asked: tuple[int, float] | None = None
        self._ask_at = 0
        self.restart()

    def restart(self) -> None:
        """Count from now on: a save begins."""
        self._last = self._clock()

    def is_due(self, step: int) -> bool:
        """Whether the time has come; all processes must ask after every step."""
        if step < self._ask_at:
            return False
        steps = int(multihost.leaders_value(self._steps_until_due(step)))
        self._ask_at = step + max(1, steps)
        return steps == 0

    def _steps_until_due(self, step: int) -> int:
        """Return 0 if it is due, else after how many steps to ask again, by the speed since last asked."""
        now = self._clock()
        left = self._seconds - (now - self._last)
        before, self._asked = self._asked, (step, now)
        if left <= 0:
            return 0
        if before is None or now <= before[1]:
            return 1
        speed = (step - before[0]) / (now - before[1])
        return max(1, int(left * speed / 2))

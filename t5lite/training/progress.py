"""The live line: a tqdm bar on a terminal, a plain line now and then in a log file."""

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tqdm import tqdm

PLAIN_LINE_SECONDS = 15.0


class ProgressLine:
    """Shows step, loss, speed and time left on ``stream`` (standard error).

    Args:
      start_step: steps done at the start.
      total_steps: where the run ends.
      description: what the bar is called.
      stream: written to; tqdm only if it is a terminal.
    """

    def __init__(
        self, *, start_step: int, total_steps: int, description: str = "train", stream: TextIO | None = None
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._description, self._total_steps = description, total_steps
        self._start = (start_step, time.monotonic())
        self._printed_at = -PLAIN_LINE_SECONDS
        self._bar: tqdm | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=total_steps,
                initial=start_step,
                desc=description,
                unit="step",
                file=self._stream,
                dynamic_ncols=True,
            )

    def restart_clock(self) -> None:
        """Leave the time until now, of start-up, out of the time left."""
        self._start = (self._start[0], time.monotonic())
        if self._bar is not None:
            self._bar.unpause()

    def advance(self, step: int) -> None:
        """Move to ``step`` steps done."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Show the newest figures; off a terminal at most every ``PLAIN_LINE_SECONDS``, and at the end."""
        text = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        now = time.monotonic()
        if now - self._printed_at < PLAIN_LINE_SECONDS and step < self._total_steps:
            return
        self._printed_at = now
        self.message(
            f"{self._description} {step}/{self._total_steps} | {text} | {self._time_left(step, now)}"
        )

    def message(self, text: str) -> None:
        """Print one line of its own, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def _time_left(self, step: int, now: float) -> str:
        first_step, first_time = self._start
        if step <= first_step:
            return "ETA ?"
        seconds = (now - first_time) / (step - first_step) * (self._total_steps - step)
        return f"ETA {tqdm.format_interval(seconds)}"


def _short(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.4g}"

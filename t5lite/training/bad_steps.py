"""Bad steps: not finite, or with a loss that is a spike. Said at once, counted; a row of them is an incident.

All follows from global metrics, which every process reads alike, so that all decide alike.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from t5lite.core.errors import NumbersError
from t5lite.core.metrics import WeightedSum
from t5lite.training.spikes import SpikeDetector

_KEY = "step_record"


@dataclass(frozen=True)
class Incident:
    """Numbers that went bad and stayed so."""

    first_step: int
    """The first bad step."""
    last_step: int
    """The step after which it was found."""
    what: str
    """For messages, a clause."""

    @property
    def last_good_step(self) -> int:
        """The newest state that a later loss vouches for.

        The loss of step ``n`` tells of the state after ``n - 1`` steps. That of ``first_step`` was bad, be
        it for its own batch or for the update before it; the one before was good, and with it the state it
        was taken of.
        """
        return max(self.first_step - 2, 0)


class WentBadError(Exception):
    """Ends the loop, for its caller to go back to an earlier state."""

    def __init__(self, incident: Incident) -> None:
        super().__init__(incident.what)
        self.incident = incident


@dataclass(frozen=True)
class StepRecord:
    """What a run knows of its steps to judge the next one; a run that is resumed decides as it would have."""

    recent_losses: tuple[float, ...] = ()
    """Of the last good steps, oldest first."""
    bad_in_a_row: int = 0
    """Steps up to the newest."""
    first_bad: int = 0
    """The first step of the newest row."""

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint's metadata says of it."""
        return {_KEY: {**asdict(self), "recent_losses": list(self.recent_losses)}}

    @staticmethod
    def from_json(metadata: Mapping[str, Any]) -> "StepRecord":
        """Return what ``to_json`` said among ``metadata``; an empty record where nothing does.

        Raises:
          ValueError: if that is no such record.
        """
        try:
            record = StepRecord(**metadata.get(_KEY, {}))
            losses = tuple(map(float, record.recent_losses))
            least = min(map(operator.index, (record.bad_in_a_row, record.first_bad)))
        except TypeError as error:
            raise ValueError(f"{_KEY} is no record of steps ({error})") from error
        if least < 0 or not all(map(math.isfinite, losses)):
            raise ValueError(f"{_KEY} is no record of steps")
        return replace(record, recent_losses=losses)


class BadSteps:
    """Finds the bad steps of a run.

    Args:
      max_in_a_row: bad steps in a row that are an incident.
      spikes: tells spikes; the losses that it knows are those of ``record``.
      say: shows one line.
      record: of the steps before.
    """

    def __init__(
        self, max_in_a_row: int, spikes: SpikeDetector, say: Callable[[str], None], record: StepRecord
    ) -> None:
        self._max_in_a_row, self._say = max_in_a_row, say
        self._spikes = replace(spikes, recent=record.recent_losses)
        self.in_a_row, self._first = record.bad_in_a_row, record.first_bad
        self._nonfinite, self._spiking = _Count(), _Count()
        self._newest = "as when it was saved"

    @property
    def record(self) -> StepRecord:
        """Of all steps so far."""
        return StepRecord(self._spikes.recent, self.in_a_row, self._first)

    def last_good_step(self, step: int) -> int:
        """Return the newest state that the losses up to this step vouch for."""
        return self._incident(step).last_good_step if self.in_a_row else max(step - 1, 0)

    def state_went_bad(self, step: int, error: NumbersError) -> WentBadError:
        """Return the incident of a state that cannot be saved, found before the loss that would show it."""
        return WentBadError(Incident(self._first if self.in_a_row else step + 1, step, str(error)))

    def judge(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take note of the metrics (host values) of a step; say what is bad, again at twice the count.

        Raises:
          WentBadError: after ``max_in_a_row`` bad steps.
        """
        count, what = self._fault(metrics)
        if count is None:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.in_a_row == 1:
            self._first = step
        self._newest = what
        if count.is_said_at_next():
            so_far = f", {count.total} such steps so far" if count.total > 1 else ""
            self._say(f"step {step}: {what}{so_far}")
        if self.in_a_row >= self._max_in_a_row:
            raise WentBadError(self._incident(step))

    def check_end(self, step: int) -> None:
        """Say how many there were in all.

        Raises:
          WentBadError: if the last step was one of them: then nothing vouches for the parameters.
        """
        if self._nonfinite.total:
            self._say(f"{self._nonfinite.total} steps of this attempt were not finite")
        if self._spiking.total:
            self._say(f"{self._spiking.total} steps of this attempt had a loss spike")
        if self.in_a_row:
            raise WentBadError(self._incident(step))

    def _fault(self, metrics: Mapping[str, Any]) -> "tuple[_Count | None, str]":
        """Return what counts a bad step and what to say of it; the loss of a good one is remembered."""
        if metrics["nonfinite"]:
            return self._nonfinite, f"{_names(metrics)} not finite"
        if not metrics["loss"].weight:  # a batch without targets tells nothing
            return None, ""
        loss = float(metrics["loss"].total) / float(metrics["loss"].weight)
        if self._spikes.is_spike(loss):
            return self._spiking, f"the loss is a spike: {loss:.4g}, above {self._spikes.limit:.4g}"
        self._spikes = self._spikes.after(loss)
        return None, ""

    def _incident(self, step: int) -> Incident:
        row = (
            f"{self.in_a_row} steps in a row went bad, up to step {step}"
            if self.in_a_row > 1
            else f"step {step}"
        )
        return Incident(self._first, step, f"{row}: {self._newest}")


class _Count:
    """A count that is said first, then whenever it was twice as many."""

    def __init__(self) -> None:
        self.total = self._said_at = 0

    def is_said_at_next(self) -> bool:
        """Count one more, and return whether to say so."""
        self.total += 1
        is_said = self.total >= 2 * self._said_at
        if is_said:
            self._said_at = self.total
        return is_said


def _names(metrics: Mapping[str, Any]) -> str:
    """Return which metrics are not finite, as the words before "not finite"."""
    totals = {n: v.total if isinstance(v, WeightedSum) else v for n, v in metrics.items()}
    names = [name for name, total in totals.items() if not math.isfinite(total)] or ["the objective"]
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}"

"""Goodput: of the time that a run took, over all its starts, the part in steps that count.

The rest, badput, has causes; all together are the time since the first start. Durations are those that each
attempt measured by itself; only the time between two attempts compares clocks (of two hosts, it may be), and
counts as none where they contradict each other.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from t5lite.training.attempts import Attempt


@dataclass(frozen=True)
class Goodput:
    """Where the time went."""

    useful_seconds: float
    """In steps that no later attempt did again."""
    lost_seconds: Mapping[str, float]
    """By cause: ``down`` (nothing ran), ``waiting`` (for another run to give the directory back),
    ``repeated`` (in steps that came to nothing: they were done again), and the phases; ``input`` is the
    input's stall."""
    useful_steps: int
    repeated_steps: int

    @property
    def total_seconds(self) -> float:
        """Seconds from the first start."""
        return self.useful_seconds + sum(self.lost_seconds.values())

    @property
    def share(self) -> float:
        """The useful part, from 0 to 1."""
        return self.useful_seconds / self.total_seconds if self.total_seconds else 0.0


def goodput(attempts: Sequence[Attempt], *, until: float | None = None) -> Goodput:
    """Return where the time of a run went.

    Args:
      attempts: in the order of their starts.
      until: Unix time; what passed since the last sign of life counts as ``down``. By default nothing does.
    """
    useful = _useful_steps(attempts, [attempt.last_step for attempt in attempts])
    lost: dict[str, float] = dict.fromkeys(("down", "waiting", "repeated"), 0.0)
    useful_seconds = 0.0
    before: Attempt | None = None
    for attempt, steps in zip(attempts, useful, strict=True):
        seconds = asdict(attempt.seconds)
        in_steps = seconds.pop("step")
        # In this order it is never more than all, also by a rounding.
        counted = in_steps * (steps / attempt.num_steps) if attempt.num_steps else 0.0
        useful_seconds += counted
        lost["repeated"] += in_steps - counted
        waited = min(attempt.waited_seconds, seconds["startup"])
        seconds["startup"] -= waited
        gap = 0.0 if before is None else attempt.started - before.seen
        lost["down"] += max(0.0, gap)
        # While it waited for the one before, that one's own account has the time.
        lost["waiting"] += max(0.0, waited + min(0.0, gap))
        before = attempt
        for cause, spent in seconds.items():
            lost[cause] = lost.get(cause, 0.0) + spent
    if before is not None and until is not None:
        lost["down"] += max(0.0, until - before.seen)
    reached = reached_steps(attempts)
    useful_steps = sum(_useful_steps(attempts, reached))
    unseen = sum(last - attempt.last_step for last, attempt in zip(reached, attempts, strict=True))
    done = sum(attempt.num_steps for attempt in attempts) + unseen
    return Goodput(useful_seconds, lost, useful_steps, done - useful_steps)


def reached_steps(attempts: Sequence[Attempt]) -> list[int]:
    """Return the last step of each attempt; of one that was killed, the next may have found a later one."""
    return [
        attempt.last_step if attempt.end or not after else max(attempt.last_step, after.found_step)
        for attempt, after in itertools.zip_longest(attempts, attempts[1:])
    ]


def lost_steps(before: Attempt, after: Attempt) -> int:
    """Return how many steps of an attempt, or of earlier ones, the next had to do again."""
    return max(0, max(before.last_step, after.found_step) - after.first_step)


def _useful_steps(attempts: Sequence[Attempt], reached: Sequence[int]) -> list[int]:
    """Return how many steps of each attempt, up to those that it ``reached``, no later one did again."""
    counts: list[int] = []
    resumed_at: int | None = None
    for attempt, end in zip(reversed(attempts), reversed(reached), strict=True):
        last = end if resumed_at is None else min(end, resumed_at)
        counts.append(max(0, last - attempt.first_step))
        resumed_at = attempt.first_step if resumed_at is None else min(resumed_at, attempt.first_step)
    return counts[::-1]

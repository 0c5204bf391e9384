"""What guards a process from its start to its end: its phases and their times, signals, and its watchdog."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from t5lite.core.storage.addresses import StoragePath
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption
from t5lite.training.watchdog import Watchdog, WatchdogConfig


@dataclass(frozen=True)
class Supervision:
    """The phases of a process, how signals stop it, and how long it has been in each phase."""

    phases: Phases
    preemption: Preemption
    clock: PhaseClock


@contextmanager
def supervised(config: WatchdogConfig, directory: StoragePath) -> Iterator[Supervision]:
    """Guard the block; enter it in the main thread, before the process joins others.

    Args:
      config: after how long in a phase the process is ended as stuck.
      directory: the run directory.
    """
    phases = Phases()
    clock = PhaseClock(phases)
    with Watchdog(phases, config, directory), Preemption(phases) as preemption:
        yield Supervision(phases, preemption, clock)

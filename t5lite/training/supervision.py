"""What guards a process from its start to its end: its phases, the signals it gets, and its watchdog."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from t5lite.core.storage.addresses import StoragePath
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption
from t5lite.training.watchdog import Watchdog, WatchdogConfig


@dataclass(frozen=True)
class Supervision:
    """The phases of a process, and how signals stop it."""

    phases: Phases
    preemption: Preemption


@contextmanager
def supervised(config: WatchdogConfig, directory: StoragePath) -> Iterator[Supervision]:
    """Guard the block; enter it in the main thread, before the process joins others.

    Args:
      config: after how long in a phase the process is ended as stuck.
      directory: the run directory.
    """
    phases = Phases()
    with Watchdog(phases, config, directory), Preemption(phases) as preemption:
        yield Supervision(phases, preemption)

"""The attempts of a run, as the files of its ledger tell them. Reading needs no JAX."""

import contextlib
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from t5lite.core.errors import ConfigError
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.strict_json import StrictJson
from t5lite.training.incidents import Incidents

LEDGER_FOLDER = "ledger"
"""Name in the run directory."""
LEDGER_PATTERN = r"\d+\.json"
"""Of the names in it."""


@dataclass(frozen=True, kw_only=True)
class PhaseSeconds:
    """Seconds that the leader process spent in each phase (``training.phases``)."""

    startup: float = 0.0
    restore: float = 0.0
    compile: float = 0.0
    input: float = 0.0
    step: float = 0.0
    save: float = 0.0
    evaluation: float = 0.0
    other: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 0:
                raise ConfigError(f"{each.name} is negative")


@dataclass(frozen=True, kw_only=True)
class End:
    """How an attempt ended."""

    reason: Literal["finished", "preempted", "failed", "ended"]
    """``ended``: at once, by the watchdog or by a signal, without saving."""
    exit_code: int
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a run, from joining the other processes to its end."""

    number: int
    """From 1."""
    host: str
    """Of the leader, as the next one."""
    pid: int
    job: str | None
    """The scheduler's name for it."""
    program: str | None = None
    """A digest of its configuration and software; None before version 4."""
    num_processes: int
    num_devices: int
    started: float
    """Unix time."""
    seconds: PhaseSeconds
    waited_seconds: float
    """Of ``startup``, waiting for another run to give the directory back."""
    first_step: int
    """Steps that were done before; the lowest, if the attempt went back below it."""
    last_step: int
    """Steps that are done."""
    num_steps: int
    """Steps that it did, those that it did again after it had gone back included."""
    found_step: int
    """The newest step of which the metrics file told when it started."""
    retried_requests: int = 0
    """To object storage, that failed and were tried again in the leader process."""
    incidents: Incidents = field(default_factory=Incidents)
    left_out_examples: int = 0
    """Of the data, since the numbers went bad there, in this attempt or before."""
    end: End | None = None
    """None while it lasts, and for good if it was killed."""

    def __post_init__(self) -> None:
        net_steps = self.last_step - self.first_step
        counts = (self.number - 1, self.first_step, net_steps, self.num_steps - net_steps, self.found_step)
        if min(*counts, self.waited_seconds, self.retried_requests, self.left_out_examples) < 0:
            raise ConfigError("its steps or seconds contradict each other")

    @property
    def lasted_seconds(self) -> float:
        """Seconds from its start to its end, or to when it was last written."""
        return sum(asdict(self.seconds).values())

    @property
    def seen(self) -> float:
        """Unix time of its end, or of its last sign of life, by its own clock."""
        return self.started + self.lasted_seconds


VERSIONS = Versions({0: unchanged, 1: unchanged, 2: unchanged, 3: unchanged})
"""Of the file of an attempt."""
_JSON = StrictJson(versions={Attempt: VERSIONS})


def to_json(attempt: Attempt) -> dict[str, Any]:
    """Return what the file of an attempt says."""
    return _JSON.unstructure(attempt, Attempt)


def read_attempts(directory: StoragePath) -> tuple[list[Attempt], list[str]]:
    """Return the attempts of a run by their numbers, and what to say of entries that cannot be read."""
    folder = directory / LEDGER_FOLDER
    attempts, notes = [], []
    for name in sorted(entry_names(folder), key=number_of):
        try:
            attempts.append(_JSON.read(folder / name, Attempt))
        except ConfigError as error:
            notes.append(f"left out of what the run cost: {error}; delete the file to be rid of this line")
    return attempts, notes


def entry_names(folder: StoragePath) -> list[str]:
    """Return the names of the entries in a ledger's folder, in no order."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [path.name for path in folder.iterdir() if re.fullmatch(LEDGER_PATTERN, path.name)]
    return []


def number_of(name: str) -> int:
    """Return the attempt's number, of the name of its entry."""
    return int(name.partition(".")[0])

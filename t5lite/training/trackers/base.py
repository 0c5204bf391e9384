"""What a tracker does, and what it is told of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from typing import Any, Literal, Protocol

from t5lite.core.errors import ConfigError

Reason = Literal["finished", "preempted", "failed"]


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker shows."""

    name: str
    config: Mapping[str, Any]
    """JSON-able: the resolved configuration."""
    tracked_as: str | None
    """What ``start`` returned for this run before, None for a new one."""


class Tracker(Protocol):
    """Shows the metrics of one run. All of it is called on one thread that is not the main one.

    Anything that is raised is said and counted, and never ends a run.
    """

    def start(self, run: TrackedRun) -> str:
        """Begin, or go on with, ``run``; return by what it is found again."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show values after ``step`` steps; those of a step may come again after a restart."""
        ...

    def finish(self, reason: Reason) -> None:
        """End this attempt and send what is left."""
        ...


def require(module: str) -> None:
    """Check that an optional package is there, which is an extra of the same name; it is not imported.

    Raises:
      ConfigError: with what to install.
    """
    if util.find_spec(module) is None:
        raise ConfigError(f"trackers: {module} is not installed; pip install 't5lite[{module}]'")

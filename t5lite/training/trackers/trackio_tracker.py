"""Trackio: https://huggingface.co/docs/trackio. Local first: a database of this machine, or a Space."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from t5lite.training.trackers.base import Reason, TrackedRun, require


@dataclass(frozen=True, kw_only=True)
class TrackioConfig:
    """A run of Trackio."""

    project: str = "t5lite"
    space_id: str | None = None
    """Space on Hugging Face that shows it; None keeps it on this machine."""

    key: ClassVar[str] = "trackio"
    """In trackers.json and in messages."""

    def check(self) -> None:
        """Check that the package is there."""
        require("trackio")

    def open(self) -> "TrackioTracker":
        """Return the tracker; nothing is asked of the service."""
        return TrackioTracker(self)


class TrackioTracker:
    """Shows metrics under the run's name, which is what Trackio knows a run by."""

    def __init__(self, config: TrackioConfig) -> None:
        self._config = config
        self._run: Any = None

    def start(self, run: TrackedRun) -> str:
        """See ``Tracker``."""
        trackio: Any = importlib.import_module("trackio")
        name = run.tracked_as or run.name
        self._run = trackio.init(
            project=self._config.project,
            name=name,
            space_id=self._config.space_id,
            config=dict(run.config),
            resume="allow",
            embed=False,
        )
        return name

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        self._run.log(dict(values), step=step)

    def finish(self, reason: Reason) -> None:
        """See ``Tracker``; Trackio knows no reasons."""
        del reason
        self._run.finish()

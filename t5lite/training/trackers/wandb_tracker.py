"""Weights & Biases: https://docs.wandb.ai. ``WANDB_MODE=offline`` writes to a disk, for ``wandb sync``."""

import importlib
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from t5lite.training.trackers.base import Reason, TrackedRun, require

_STEP = "step"


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """A run of Weights & Biases."""

    project: str = "t5lite"
    entity: str | None = None
    """User or team; None takes the account's default."""

    key: ClassVar[str] = "wandb"
    """In trackers.json and in messages."""

    def check(self) -> None:
        """Check that the package is there."""
        require("wandb")

    def open(self) -> "WandbTracker":
        """Return the tracker; nothing is asked of the service."""
        return WandbTracker(self)


class WandbTracker:
    """Shows metrics by ``step``, which may come again, and not by W&B's own count, which never goes back."""

    def __init__(self, config: WandbConfig) -> None:
        self._config = config
        self._run: Any = None

    def start(self, run: TrackedRun) -> str:
        """See ``Tracker``; the id is ours, so that a run that was never sent goes on under the same one."""
        wandb: Any = importlib.import_module("wandb")
        tracked_as = run.tracked_as or uuid.uuid4().hex[:12]
        self._run = wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            id=tracked_as,
            resume="allow",
            name=run.name,
            config=dict(run.config),
            # By default it litters the working directory; what waits for `wandb sync` may be kept elsewhere.
            dir=os.environ.get("WANDB_DIR") or tempfile.gettempdir(),
        )
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)
        return tracked_as

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        self._run.log({**values, _STEP: step})

    def finish(self, reason: Reason) -> None:
        """See ``Tracker``; W&B knows ended and failed."""
        self._run.finish(exit_code=int(reason == "failed"))

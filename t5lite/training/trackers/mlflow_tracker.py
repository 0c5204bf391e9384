"""MLflow: https://mlflow.org/docs/latest. A server, or a folder or database by its tracking URI."""

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from t5lite.training.trackers.base import Reason, TrackedRun, require

_STATUS: dict[Reason, str] = {
    "finished": "FINISHED",
    "preempted": "KILLED",
    "failed": "FAILED",
}


@dataclass(frozen=True, kw_only=True)
class MlflowConfig:
    """A run of an MLflow experiment."""

    experiment: str = "t5lite"
    tracking_uri: str | None = None
    """None takes MLFLOW_TRACKING_URI, or MLflow's default."""

    key: ClassVar[str] = "mlflow"
    """In trackers.json and in messages."""

    def check(self) -> None:
        """Check that the package is there."""
        require("mlflow")

    def open(self) -> "MlflowTracker":
        """Return the tracker; nothing is asked of the service."""
        return MlflowTracker(self)


class MlflowTracker:
    """Shows metrics through MLflow's client, which keeps no state of the process."""

    def __init__(self, config: MlflowConfig) -> None:
        self._config = config
        self._client: Any = None
        self._run_id = ""

    def start(self, run: TrackedRun) -> str:
        """See ``Tracker``; the id is MLflow's. The configuration is an artifact: parameters are short."""
        mlflow: Any = importlib.import_module("mlflow")
        self._client = mlflow.MlflowClient(tracking_uri=self._config.tracking_uri)
        if run.tracked_as is not None:
            self._run_id = run.tracked_as
            self._client.update_run(self._run_id, status="RUNNING")
        else:
            found = self._client.get_experiment_by_name(self._config.experiment)
            experiment = (
                found.experiment_id if found else self._client.create_experiment(self._config.experiment)
            )
            self._run_id = self._client.create_run(experiment, run_name=run.name).info.run_id
        self._client.log_text(self._run_id, json.dumps(run.config, indent=2), "config.json")
        return self._run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        entities: Any = importlib.import_module("mlflow.entities")
        now = int(time.time() * 1000)
        metrics = [entities.Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, reason: Reason) -> None:
        """See ``Tracker``."""
        self._client.set_terminated(self._run_id, status=_STATUS[reason])

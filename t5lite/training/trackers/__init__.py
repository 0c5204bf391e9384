"""Services that show metrics, beside metrics.jsonl and TensorBoard: one file each, none of them needed.

A tracker is a class with the methods of ``base.Tracker``, and a configuration that opens it: a member of the
union ``TrackerConfig``.
"""

from typing import TypeAlias

from t5lite.training.trackers.mlflow_tracker import MlflowConfig
from t5lite.training.trackers.trackio_tracker import TrackioConfig
from t5lite.training.trackers.wandb_tracker import WandbConfig

TrackerConfig: TypeAlias = WandbConfig | MlflowConfig | TrackioConfig

__all__ = ["MlflowConfig", "TrackerConfig", "TrackioConfig", "WandbConfig"]

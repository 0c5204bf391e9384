"""What a recipe imports, from one place: ``from t5lite.recipe import RunConfig, TrainingConfig, …``.

Each name lives where its component does; that of a model's parts are all that ``models.config`` has.
"""

from dataclasses import replace

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.data.host_loader import LoaderConfig
from t5lite.data.objectives import (
    CausalLM,
    Deshuffling,
    IidDenoising,
    MaskedLM,
    PrefixLM,
    SpanCorruption,
    Ul2,
)
from t5lite.data.pipeline import MixtureDataConfig, MixtureSource, PairsDataConfig, PretrainingDataConfig
from t5lite.models import config
from t5lite.models.config import *  # noqa: F403 - kinds that are added there are recipes' at once
from t5lite.models.laptop import LAPTOP_BERT, LAPTOP_T5
from t5lite.models.presets import preset
from t5lite.optim import (
    AdafactorConfig,
    AdamWConfig,
    Constant,
    InverseSqrt,
    MuonConfig,
    WarmupCosine,
    WarmupStableDecay,
)
from t5lite.partitioning import PartitioningConfig
from t5lite.partitioning.multihost import JoiningConfig
from t5lite.run_config import EvaluationConfig, FineTuningConfig, InitializeFrom, RunConfig
from t5lite.training.loop import TrainingConfig
from t5lite.training.step import StepConfig
from t5lite.training.trackers import MlflowConfig, TrackioConfig, WandbConfig
from t5lite.training.watchdog import WatchdogConfig

__all__ = [
    "LAPTOP_BERT",
    "LAPTOP_T5",
    "AdafactorConfig",
    "AdamWConfig",
    "CausalLM",
    "CheckpointConfig",
    "Constant",
    "Deshuffling",
    "EvaluationConfig",
    "FineTuningConfig",
    "IidDenoising",
    "InitializeFrom",
    "InverseSqrt",
    "JoiningConfig",
    "LoaderConfig",
    "MaskedLM",
    "MixtureDataConfig",
    "MixtureSource",
    "MlflowConfig",
    "MuonConfig",
    "PairsDataConfig",
    "PartitioningConfig",
    "PrefixLM",
    "PretrainingDataConfig",
    "RunConfig",
    "SpanCorruption",
    "StepConfig",
    "TrackioConfig",
    "TrainingConfig",
    "Ul2",
    "WandbConfig",
    "WarmupCosine",
    "WarmupStableDecay",
    "WatchdogConfig",
    "preset",
    "replace",
]
__all__ += config.__all__

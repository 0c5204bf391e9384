"""Optimizers and learning-rate schedules: a typed config with ``build()`` each.

A new one is one file and its name in the union ``OptimizerConfig`` or ``Schedule``; configurations, their
JSON and the tables follow from the union.
"""

from typing import TypeAlias, get_args

from t5lite.optim.adafactor import AdafactorConfig
from t5lite.optim.adamw import AdamWConfig
from t5lite.optim.base import Optimizer, ScheduleFn
from t5lite.optim.muon import MuonConfig
from t5lite.optim.schedules import (
    SCHEDULES,
    Constant,
    InverseSqrt,
    Schedule,
    WarmupCosine,
    WarmupStableDecay,
)

OptimizerConfig: TypeAlias = AdafactorConfig | AdamWConfig | MuonConfig

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {kind.__name__: kind for kind in get_args(OptimizerConfig)}
"""Every optimizer by the name that ``config.json`` has as its ``type``."""

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "AdafactorConfig",
    "AdamWConfig",
    "Constant",
    "InverseSqrt",
    "MuonConfig",
    "Optimizer",
    "OptimizerConfig",
    "Schedule",
    "ScheduleFn",
    "WarmupCosine",
    "WarmupStableDecay",
]

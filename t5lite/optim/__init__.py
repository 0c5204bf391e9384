"""Optimizers and learning-rate schedules: a typed config with ``build()`` each.

A new one is one file and one line in ``OPTIMIZERS`` or ``SCHEDULES`` (and in the union beside it).
"""

from typing import TypeAlias

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

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "adafactor": AdafactorConfig,
    "adamw": AdamWConfig,
    "muon": MuonConfig,
}

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

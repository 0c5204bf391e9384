"""Optimizers and learning-rate schedules: a typed config with ``build()`` each.

Those imported here are the optimizers that there are: a new one is one file and one line. A schedule is a
class and its name in the union ``Schedule``.
"""

from typing import TYPE_CHECKING, TypeAlias, get_args

from t5lite.core.registry import union_of
from t5lite.optim.adafactor import AdafactorConfig as AdafactorConfig
from t5lite.optim.adamw import AdamWConfig as AdamWConfig
from t5lite.optim.base import BaseOptimizer, Optimizer, ScheduleFn
from t5lite.optim.muon import MuonConfig as MuonConfig
from t5lite.optim.schedules import (
    SCHEDULES,
    Constant,
    InverseSqrt,
    Schedule,
    WarmupCosine,
    WarmupStableDecay,
)

if TYPE_CHECKING:
    OptimizerConfig: TypeAlias = BaseOptimizer
else:
    OptimizerConfig = union_of(BaseOptimizer, globals())
"""The configuration of any optimizer."""

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

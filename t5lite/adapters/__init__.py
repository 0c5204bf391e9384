"""Adapters: a few parameters that are trained beside those of a model, which stay as they are.

Those imported here are the adapters that there are: a new one is one file and one line.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from t5lite.adapters.base import AdaptedModel, BaseAdapter
from t5lite.adapters.bases import Base
from t5lite.adapters.lora import LoRA as LoRA
from t5lite.adapters.none import NoAdapter as NoAdapter
from t5lite.adapters.prompt_tuning import PromptTuning as PromptTuning
from t5lite.core.registry import union_of

if TYPE_CHECKING:
    Adapter: TypeAlias = BaseAdapter
else:
    Adapter = union_of(BaseAdapter, globals())
"""The configuration of any adapter."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What the checkpoints of a run are that hold an adapter alone."""

    adapter: Adapter
    base: Base


__all__ = [
    "Adaptation",
    "AdaptedModel",
    "Adapter",
    "Base",
    "BaseAdapter",
    "LoRA",
    "NoAdapter",
    "PromptTuning",
]

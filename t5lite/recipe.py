"""What recipes are written with, from one place: ``from t5lite import recipe as r``, then ``r.RunConfig(…)``.

It has every class that a run's configuration may hold, the presets, and models of a size for a laptop. Each
name lives where its component does; what is added there (docs/extending.md) is here, too.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from t5lite.adapters import LoRA, NoAdapter, PromptTuning
from t5lite.checkpointing.lease import LeaseConfig
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
from t5lite.data.objectives.ul2 import Denoiser
from t5lite.data.pipeline import (
    MixtureDataConfig,
    MixtureSource,
    NumbersDataConfig,
    PairsDataConfig,
    PretrainingDataConfig,
    SpansDataConfig,
    TextPairsDataConfig,
    WordLabelsDataConfig,
)
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Execution,
    GatedMLP,
    Inherited,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    NormalInitializer,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    SentenceEmbedding,
    SinusoidalPositions,
    StackSizes,
    T5Initializer,
    Transfer,
    Unscaled,
    XavierInitializer,
)
from t5lite.models.laptop import LAPTOP_BERT, LAPTOP_GPT, LAPTOP_MODERNBERT, LAPTOP_T5
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
from t5lite.run_config import UNIONS, EvaluationConfig, FineTuningConfig, RunConfig
from t5lite.run_origins import ContinueFrom, InitializeFrom
from t5lite.training.config import StepConfig, TrainingConfig
from t5lite.training.trackers import MlflowConfig, TrackioConfig, WandbConfig
from t5lite.training.watchdog import WatchdogConfig

__all__ = [
    "LAPTOP_BERT", "LAPTOP_GPT", "LAPTOP_MODERNBERT", "LAPTOP_T5",
    "AdafactorConfig", "AdamWConfig", "AttentionConfig", "CausalLM", "CheckpointConfig", "Constant",
    "ContinueFrom", "DecoderOnlyConfig", "Denoiser", "Deshuffling", "EncoderDecoderConfig",
    "EncoderOnlyConfig",
    "EvaluationConfig", "Execution", "FineTuningConfig", "GatedMLP", "IidDenoising", "Inherited",
    "InitializeFrom", "InverseSqrt", "JoiningConfig", "LayerNorm", "LearnedPositions", "LeaseConfig",
    "LinearScaling", "Llama3Scaling", "LoRA", "LoaderConfig", "MaskedLM", "MixtureDataConfig",
    "MixtureSource", "MlflowConfig", "MuonConfig", "NoAdapter", "NormalInitializer", "NumbersDataConfig",
    "PairsDataConfig", "PartitioningConfig", "PlainMLP", "PrefixLM", "PretrainingDataConfig",
    "PromptTuning", "RMSNorm", "RelativePositions", "RotaryPositions", "RunConfig", "SentenceEmbedding",
    "SinusoidalPositions", "SpanCorruption", "SpansDataConfig", "StackSizes", "StepConfig", "T5Initializer",
    "TextPairsDataConfig", "TrackioConfig", "TrainingConfig", "Transfer", "Ul2", "Unscaled", "WandbConfig",
    "WarmupCosine", "WarmupStableDecay", "WatchdogConfig", "WordLabelsDataConfig", "XavierInitializer",
    "preset", "replace",
]  # fmt: skip

if not TYPE_CHECKING:  # which has the kinds above; here are those, too, that were added to their tables
    _KINDS = {kind.__name__: kind for union in UNIONS for kind in get_args(union)}
    globals().update(_KINDS)
    __all__ += [name for name in _KINDS if name not in __all__]

"""Shape of the architectures, and how they are computed; a published model is a value of one of them.

Each class's defaults are those of its best-known family: T5 1.1, BERT, Llama. A configuration answers what
the rest of t5lite asks about its architecture (``TransformerConfig``); what its layers are made of it says
as values (``LayerSpec``, ``StackSpec``). Those imported here are the architectures that there are: a new
one is one file and one line.
"""

from typing import TYPE_CHECKING, TypeAlias

from t5lite.core.registry import union_of
from t5lite.models.config.attention import AttentionBiases, AttentionConfig
from t5lite.models.config.decoder_only import DecoderOnlyConfig as DecoderOnlyConfig
from t5lite.models.config.decoder_only import PrefixAttention
from t5lite.models.config.encoder_decoder import EncoderDecoderConfig as EncoderDecoderConfig
from t5lite.models.config.encoder_only import EncoderOnlyConfig as EncoderOnlyConfig
from t5lite.models.config.execution import REMAT_NAMES, AttentionBackend, Dtype, Execution, Remat
from t5lite.models.config.heads import HEADS, Head, HeadKind
from t5lite.models.config.inherited import Inherited
from t5lite.models.config.initializers import (
    Initializer,
    NormalInitializer,
    T5Initializer,
    XavierInitializer,
)
from t5lite.models.config.layers import AttentionSpec, AttentionView, LayerSpec, StackSpec, Window
from t5lite.models.config.mlps import Activation, GatedMLP, MLPKind, PlainMLP
from t5lite.models.config.norms import LayerNorm, NormKind, NormPlacement, RMSNorm
from t5lite.models.config.parts import LossKind, Output
from t5lite.models.config.pooling import Pooling, SentenceEmbedding
from t5lite.models.config.positions import (
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    PositionKind,
    RelativePositions,
    RotaryPositions,
    RotaryScaling,
    SinusoidalPositions,
    Unscaled,
)
from t5lite.models.config.sizes import StackSizes
from t5lite.models.config.transfer import Transfer
from t5lite.models.config.transformer import Architecture, TransformerConfig

if TYPE_CHECKING:
    ModelConfig: TypeAlias = TransformerConfig
else:
    ModelConfig = union_of(TransformerConfig, globals())
"""The configuration of any architecture."""
PARTS = (RotaryScaling, PositionKind, NormKind, MLPKind, Initializer)
"""The unions that a configuration has fields of, each after those that it has itself."""

__all__ = [
    "HEADS", "PARTS", "REMAT_NAMES",
    "Activation", "Architecture", "AttentionBackend", "AttentionBiases", "AttentionConfig", "AttentionSpec",
    "AttentionView", "DecoderOnlyConfig", "Dtype", "EncoderDecoderConfig", "EncoderOnlyConfig", "Execution",
    "GatedMLP", "Head", "HeadKind", "Inherited", "Initializer", "LayerNorm", "LayerSpec", "LearnedPositions",
    "LinearScaling", "Llama3Scaling", "LossKind", "MLPKind", "ModelConfig", "NormKind", "NormPlacement",
    "NormalInitializer", "Output", "PlainMLP", "Pooling", "PositionKind", "PrefixAttention", "RMSNorm",
    "RelativePositions", "Remat", "RotaryPositions", "RotaryScaling", "SentenceEmbedding",
    "SinusoidalPositions", "StackSizes", "StackSpec", "T5Initializer", "Transfer", "TransformerConfig",
    "Unscaled", "Window", "XavierInitializer",
]  # fmt: skip

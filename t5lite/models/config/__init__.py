"""Shape and numeric policy of the architectures; a published model is a value of one of them.

Each class's defaults are those of its best-known family: T5 1.1, BERT, Llama. A configuration answers what
the rest of t5lite asks about its architecture (``TransformerConfig``).
"""

from typing import TypeAlias

from t5lite.models.config.decoder_only import DecoderOnlyConfig, PrefixAttention
from t5lite.models.config.encoder_decoder import EncoderDecoderConfig
from t5lite.models.config.encoder_only import EncoderOnlyConfig
from t5lite.models.config.heads import HEADS, Head, HeadKind
from t5lite.models.config.parts import Output, StackShape
from t5lite.models.config.transformer import (
    EXECUTION_FIELDS,
    REMAT_NAMES,
    Activation,
    Architecture,
    AttentionBackend,
    Dtype,
    Norm,
    Positions,
    Remat,
    TransformerConfig,
)

ModelConfig: TypeAlias = EncoderDecoderConfig | EncoderOnlyConfig | DecoderOnlyConfig
"""The configuration of any architecture."""

__all__ = [
    "EXECUTION_FIELDS",
    "HEADS",
    "REMAT_NAMES",
    "Activation",
    "Architecture",
    "AttentionBackend",
    "DecoderOnlyConfig",
    "Dtype",
    "EncoderDecoderConfig",
    "EncoderOnlyConfig",
    "Head",
    "HeadKind",
    "ModelConfig",
    "Norm",
    "Output",
    "Positions",
    "PrefixAttention",
    "Remat",
    "StackShape",
    "TransformerConfig",
]

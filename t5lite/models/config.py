"""The shape and the numeric policy of an encoder-decoder Transformer of the T5 family."""

from dataclasses import dataclass
from typing import Literal

from t5lite.core.errors import ConfigError

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig:
    """An encoder-decoder Transformer: T5 1.0 is relu and tied, T5 1.1 is gated_gelu and untied."""

    vocab_size: int = 32128
    """Rows of the embedding table; at least the vocabulary's size, usually a multiple of 128."""
    embed_dim: int
    """Width of the residual stream."""
    mlp_dim: int
    """Width of the MLP's hidden layer."""
    head_dim: int
    """Width of one attention head; num_heads * head_dim need not equal embed_dim."""
    num_heads: int
    """Attention heads of every attention layer."""
    num_encoder_layers: int
    """Layers of the encoder."""
    num_decoder_layers: int
    """Layers of the decoder."""
    mlp_activation: Literal["relu", "gated_gelu"] = "gated_gelu"
    """relu(x W) of T5 1.0, or gelu_tanh(x W0) * (x W1) of T5 1.1."""
    tie_embeddings: bool = False
    """Use the embedding table as the output projection too, with logits scaled by embed_dim^-0.5 (T5 1.0)."""
    relpos_buckets: int = 32
    """Buckets of the relative position bias; half of them for each direction in the encoder."""
    relpos_max_distance: int = 128
    """Distance in tokens from which all relative positions share the last bucket."""
    dropout_rate: float = 0.0
    """Dropout in the places of T5X, broadcast along the length."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in RMSNorm."""
    compute_dtype: Dtype = "float32"
    """Dtype of activations and matrix products; norms, softmax and logits are float32 in any case."""
    param_dtype: Dtype = "float32"
    """Dtype the parameters are stored in."""
    scan_unroll: int = 1
    """Layers per iteration of the loop over layers; 1 compiles fastest, -1 unrolls all (fastest on CPU)."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass recomputes: nothing, all but matrix products, or every layer from its input."""

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
          ConfigError: for a value out of range.
        """
        positive = (
            "vocab_size",
            "embed_dim",
            "mlp_dim",
            "head_dim",
            "num_heads",
            "num_encoder_layers",
            "num_decoder_layers",
        )
        for name in positive:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        if self.relpos_buckets < 4 or self.relpos_buckets % 4:
            raise ConfigError(f"relpos_buckets={self.relpos_buckets} must be a positive multiple of 4")
        if self.relpos_max_distance <= self.relpos_buckets // 2:
            raise ConfigError(
                f"relpos_max_distance={self.relpos_max_distance} must exceed the "
                f"{self.relpos_buckets // 2} distances that have a bucket of their own "
                f"(relpos_buckets={self.relpos_buckets}); raise it or use fewer buckets"
            )
        if not 0.0 <= self.dropout_rate < 1.0:
            raise ConfigError(f"dropout_rate={self.dropout_rate} must be in [0, 1)")
        if self.norm_epsilon <= 0.0:
            raise ConfigError(f"norm_epsilon={self.norm_epsilon} must be positive")
        if self.scan_unroll != -1 and self.scan_unroll < 1:
            raise ConfigError(
                f"scan_unroll={self.scan_unroll} must be -1 (all layers) or a number of layers from 1"
            )
        literals = {
            "mlp_activation": ("relu", "gated_gelu"),
            "compute_dtype": ("float32", "bfloat16"),
            "param_dtype": ("float32", "bfloat16"),
            "remat": ("none", "dots", "full"),
        }
        for name, allowed in literals.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be one of: {', '.join(allowed)}")

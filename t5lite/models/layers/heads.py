"""What encoder-only models compute from their hidden states."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import Activation, EncoderOnlyConfig
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.embedding import TokenEmbedding
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.making import Making
from t5lite.models.layers.mlp import ACTIVATIONS
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.projection import project


class Dense(nnx.Module):
    """A kernel and maybe a bias on the last axis, in the compute dtype."""

    def __init__(self, embed_dim: int, num_features: int, axis: str, making: Making, *, bias: bool = True):
        shape = (embed_dim, num_features)
        self.kernel = making.kernel("dense", shape, ("embed", axis))
        if bias:
            self.bias = making.vector(shape[1:], (axis,))
        self.dtype = making.dtype

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``[B, L, num_features]``."""
        y = project("BLD,DE->BLE", x_BLD.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return add_bias(y, self.bias[...]) if hasattr(self, "bias") else y


class Pooler(nnx.Module):
    """tanh of a dense layer on the first position (BERT's [CLS])."""

    def __init__(self, embed_dim: int, making: Making):
        self.dense = Dense(embed_dim, embed_dim, "features", making)

    def __call__(self, hidden_BMD: jax.Array) -> jax.Array:
        """Return ``[B, D]``."""
        return jnp.tanh(self.dense(hidden_BMD[:, :1]))[:, 0]


class LabelHead(nnx.Module):
    """A dense layer to a few labels, float32."""

    def __init__(self, embed_dim: int, num_labels: int, making: Making):
        self.dense = Dense(embed_dim, num_labels, "labels", making)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return float32 logits ``[B, L, num_labels]``."""
        return self.dense(x_BLD).astype(jnp.float32)


class HeadTransform(nnx.Module):
    """Dense, activation and norm at every position."""

    def __init__(self, config: EncoderOnlyConfig, making: Making):
        width = config.embed_dim
        self.dense = Dense(width, width, "features", making, bias=config.head_bias)
        self.norm = Norm(config.norm, width, making)
        self.activation: Activation = config.mlp.activation

    def __call__(self, hidden_BMD: jax.Array) -> jax.Array:
        """Return ``[B, M, D]``."""
        return self.norm(ACTIVATIONS[self.activation](self.dense(hidden_BMD)))


class MaskedLMHead(HeadTransform):
    """The transform, then the embedding table and a bias a token (Devlin et al. 2019)."""

    def __init__(self, config: EncoderOnlyConfig, making: Making):
        super().__init__(config, making)
        self.bias = making.vector((config.vocab_size,), ("vocab",))

    def logits(self, hidden_BMD: jax.Array, token_embedder: TokenEmbedding) -> LogitFactors:
        """Return ``logits_BMV``, not multiplied out."""
        return token_embedder.attend(self(hidden_BMD), self.bias[...])

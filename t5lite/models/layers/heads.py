"""What encoder-only models compute from their hidden states."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import Activation, TransformerConfig
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.embedding import TokenEmbedding
from t5lite.models.layers.initializers import make_parameter, make_vector
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.mlp import ACTIVATIONS
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.projection import project


class Dense(nnx.Module):
    """A kernel and a bias on the last axis, in the compute dtype."""

    def __init__(self, config: TransformerConfig, num_features: int, axis: str, *, rngs: nnx.Rngs):
        shape = (config.embed_dim, num_features)
        self.kernel = make_parameter(config, "dense", shape, ("embed", axis), rngs=rngs)
        self.bias = make_vector(config, shape[1:], (axis,))
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``[B, L, num_features]``."""
        y = project("BLD,DE->BLE", x_BLD.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return add_bias(y, self.bias[...])


class Pooler(nnx.Module):
    """tanh of a dense layer on the first position (BERT's [CLS])."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        self.dense = Dense(config, config.embed_dim, "features", rngs=rngs)

    def __call__(self, hidden_BMD: jax.Array) -> jax.Array:
        """Return ``[B, D]``."""
        return jnp.tanh(self.dense(hidden_BMD[:, :1]))[:, 0]


class LabelHead(nnx.Module):
    """A dense layer to a few labels, float32."""

    def __init__(self, config: TransformerConfig, num_labels: int, *, rngs: nnx.Rngs):
        self.dense = Dense(config, num_labels, "labels", rngs=rngs)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return float32 logits ``[B, L, num_labels]``."""
        return self.dense(x_BLD).astype(jnp.float32)


class MaskedLMHead(nnx.Module):
    """Dense, activation and norm, then the embedding table and a bias a token (Devlin et al. 2019)."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        self.dense = Dense(config, config.embed_dim, "features", rngs=rngs)
        self.norm = Norm(config)
        self.bias = make_vector(config, (config.vocab_size,), ("vocab",))
        self.activation: Activation = config.mlp_activation

    def __call__(self, hidden_BMD: jax.Array, token_embedder: TokenEmbedding) -> LogitFactors:
        """Return ``logits_BMV``, not multiplied out."""
        transformed_BMD = self.norm(ACTIVATIONS[self.activation](self.dense(hidden_BMD)))
        return token_embedder.attend(transformed_BMD, self.bias[...])

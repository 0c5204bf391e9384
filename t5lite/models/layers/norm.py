"""RMSNorm and LayerNorm."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import TransformerConfig
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.initializers import make_vector
from t5lite.models.layers.recompute import loops_over_layers, recomputed
from t5lite.models.layers.scale import scale_features


class Norm(nnx.Module):
    """RMSNorm (Zhang & Sennrich 2019: no mean, no bias) or LayerNorm (Ba et al. 2016), as configured.

    Computed in float32 whatever the input; the result has the compute dtype.
    """

    def __init__(self, config: TransformerConfig):
        self.scale = make_vector(config, (config.embed_dim,), ("embed",), value=1.0)
        self.centred = config.norm == "layer"
        if self.centred and config.biases:
            self.bias = make_vector(config, (config.embed_dim,), ("embed",))
        self.epsilon, self.loops = config.norm_epsilon, loops_over_layers(config)
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``[B, L, D]`` in the compute dtype."""
        bias_D = self.bias[...] if hasattr(self, "bias") else None
        return recomputed(self._normalise, loops=self.loops)(x_BLD, self.scale[...], bias_D)

    def _normalise(self, x_BLD: jax.Array, scale_D: jax.Array, bias_D: jax.Array | None) -> jax.Array:
        x_BLD = x_BLD.astype(jnp.float32)
        if self.centred:
            x_BLD = x_BLD - jnp.mean(x_BLD, axis=-1, keepdims=True)
        mean_square_BL1 = jnp.mean(jnp.square(x_BLD), axis=-1, keepdims=True)
        x_BLD = x_BLD * jax.lax.rsqrt(mean_square_BL1 + self.epsilon)
        y_BLD = scale_features(x_BLD, scale_D.astype(jnp.float32))
        if bias_D is not None:
            y_BLD = add_bias(y_BLD, bias_D)
        return y_BLD.astype(self.dtype)

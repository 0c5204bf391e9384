"""RMSNorm and LayerNorm."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import TransformerConfig
from t5lite.models.layers.initializers import make_vector


class Norm(nnx.Module):
    """RMSNorm (Zhang & Sennrich 2019: no mean, no bias) or LayerNorm (Ba et al. 2016), as configured.

    Computed in float32 whatever the input; the result has the compute dtype.
    """

    def __init__(self, config: TransformerConfig):
        self.scale = make_vector(config, (config.embed_dim,), ("embed",), value=1.0)
        self.centred = config.norm == "layer"
        if self.centred and config.biases:
            self.bias = make_vector(config, (config.embed_dim,), ("embed",))
        self.epsilon = config.norm_epsilon
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``[B, L, D]`` in the compute dtype."""
        x_BLD = x_BLD.astype(jnp.float32)
        if self.centred:
            x_BLD = x_BLD - jnp.mean(x_BLD, axis=-1, keepdims=True)
        mean_square_BL1 = jnp.mean(jnp.square(x_BLD), axis=-1, keepdims=True)
        scale_D = self.scale[...].astype(jnp.float32)
        y_BLD = x_BLD * jax.lax.rsqrt(mean_square_BL1 + self.epsilon) * scale_D[None, None, :]
        if hasattr(self, "bias"):
            y_BLD += self.bias[...].astype(jnp.float32)[None, None, :]
        return y_BLD.astype(self.dtype)

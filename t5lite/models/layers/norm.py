"""RMSNorm: no mean, no bias."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig


class RMSNorm(nnx.Module):
    """Divide by the root mean square over the embedding, times a learned scale (Zhang & Sennrich 2019).

    Computed in float32 whatever the input; the result has the compute dtype.
    """

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        self.scale = nnx.Param(
            nnx.initializers.ones_init()(rngs.params(), (config.embed_dim,), jnp.dtype(config.param_dtype)),
            out_sharding=("embed",),
        )
        self.epsilon = config.norm_epsilon
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``[B, L, D]`` in the compute dtype."""
        x_BLD = x_BLD.astype(jnp.float32)
        mean_square_BL1 = jnp.mean(jnp.square(x_BLD), axis=-1, keepdims=True)
        normed_BLD = x_BLD * jax.lax.rsqrt(mean_square_BL1 + self.epsilon)
        scale_D = self.scale[...].astype(jnp.float32)
        return (normed_BLD * scale_D[None, None, :]).astype(self.dtype)

"""Token embedding and the projection to logits."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig
from t5lite.partitioning.rules import constrain

LOGITS_AXES = ("batch", "length", "vocab")


class TokenEmbedding(nnx.Module):
    """One table for encoder and decoder inputs and, when tied, for the logits: held here and only here.

    Entries start as N(0, 1), as in T5X.
    """

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.embed_dim)
        self.embedding = nnx.Param(
            nnx.initializers.normal(1.0)(rngs.params(), shape, jnp.dtype(config.param_dtype)),
            out_sharding=("vocab", "embed"),
        )
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, tokens_BL: jax.Array) -> jax.Array:
        """Return ``x_BLD``. An id beyond the table becomes NaN instead of silently another token."""
        x_BLD = jnp.take(self.embedding[...], tokens_BL, axis=0, mode="fill", fill_value=jnp.nan)
        return constrain(x_BLD.astype(self.dtype), ("batch", "length", "embed"))

    def attend(self, x_BLD: jax.Array) -> jax.Array:
        """Return float32 ``logits_BLV`` of a tied model: x E^T / sqrt(embed_dim), as in T5 1.0.

        The table's entries have variance 1, so without the division the logits would start with
        variance ``embed_dim``.
        """
        x_BLD = x_BLD.astype(jnp.float32) * (x_BLD.shape[-1] ** -0.5)
        logits_BLV = jnp.einsum("BLD,VD->BLV", x_BLD, self.embedding[...].astype(jnp.float32))
        return constrain(logits_BLV, LOGITS_AXES)


class LogitsProjection(nnx.Module):
    """The untied output projection of T5 1.1: float32 logits, no scaling.

    The kernel starts as fan-in truncated normal, as in T5X; transformers' N(0, 1) hurts pretraining.
    """

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        initializer = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        shape = (config.embed_dim, config.vocab_size)
        self.kernel = nnx.Param(
            initializer(rngs.params(), shape, jnp.dtype(config.param_dtype)), out_sharding=("embed", "vocab")
        )

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return float32 ``logits_BLV``."""
        kernel_DV = self.kernel[...].astype(jnp.float32)
        logits_BLV = jnp.einsum("BLD,DV->BLV", x_BLD.astype(jnp.float32), kernel_DV)
        return constrain(logits_BLV, LOGITS_AXES)

"""Token embedding and the projection to logits."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import TransformerConfig
from t5lite.models.layers.initializers import make_parameter
from t5lite.models.layers.projection import project
from t5lite.partitioning.rules import constrain

LOGITS_AXES = ("batch", "length", "vocab")


class TokenEmbedding(nnx.Module):
    """One table for encoder and decoder inputs and, when tied, for the logits: held here and only here.

    A table narrower than the model (``table_dim``) is projected in and out without bias.
    """

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        width = config.width_of_table
        self.embedding = make_parameter(
            config, "embedding", (config.vocab_size, width), ("vocab", "embed"), rngs=rngs
        )
        self.narrow = config.table_dim is not None
        if self.narrow:
            shape, axes = (width, config.embed_dim), ("table", "embed")
            self.projection_in = make_parameter(config, "dense", shape, axes, rngs=rngs)
            self.projection_out = make_parameter(config, "dense", shape[::-1], axes[::-1], rngs=rngs)
        self.scale, self.output_scale = config.embedding_scale, config.output_scale
        self.dtype = jnp.dtype(config.compute_dtype)

    def __call__(self, tokens_BL: jax.Array) -> jax.Array:
        """Return ``x_BLD``. An id beyond the table becomes NaN instead of silently another token."""
        x_BLD = jnp.take(self.embedding[...], tokens_BL, axis=0, mode="fill", fill_value=jnp.nan)
        x_BLD = x_BLD.astype(self.dtype) * self.scale
        if self.narrow:
            x_BLD = project("BLE,ED->BLD", x_BLD, self.projection_in[...].astype(self.dtype))
        return constrain(x_BLD, ("batch", "length", "embed"))

    def project_out(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``x_BLD`` in the table's width."""
        if not self.narrow:
            return x_BLD
        return project("BLD,DE->BLE", x_BLD, self.projection_out[...].astype(x_BLD.dtype))

    def attend(self, x_BLD: jax.Array) -> jax.Array:
        """Return the float32 ``logits_BLV`` of a tied model, x E^T times ``config.output_scale``.

        T5's and PaLM's tables have entries of variance 1, so without embed_dim^-0.5 there the logits would
        start with variance ``embed_dim``.
        """
        x_BLD = self.project_out(x_BLD).astype(jnp.float32) * self.output_scale
        logits_BLV = project("BLD,VD->BLV", x_BLD, self.embedding[...].astype(jnp.float32))
        return constrain(logits_BLV, LOGITS_AXES)


class LogitsProjection(nnx.Module):
    """An untied output projection: float32 logits, no bias."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        shape = (config.width_of_table, config.vocab_size)
        self.kernel = make_parameter(config, "logits", shape, ("embed", "vocab"), rngs=rngs)
        self.scale = config.output_scale

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        """Return float32 ``logits_BLV``."""
        x_BLD = x_BLD.astype(jnp.float32) * self.scale
        logits_BLV = project("BLD,DV->BLV", x_BLD, self.kernel[...].astype(jnp.float32))
        return constrain(logits_BLV, LOGITS_AXES)

"""Token embedding and the projection to logits."""

import jax
from flax import nnx

from t5lite.models.config import TransformerConfig
from t5lite.models.layers.logits import LogitFactors, logit_factors
from t5lite.models.layers.making import Making
from t5lite.models.layers.projection import project
from t5lite.partitioning.constraints import take_rows
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain


class TokenEmbedding(nnx.Module):
    """A table for encoder and decoder inputs and, when tied, for the logits: held here and only here.

    A table narrower than the model (``table_dim``) is projected in and out without bias. Where each side has
    a table, this is one side's, ``width`` columns wide.
    """

    def __init__(self, config: TransformerConfig, making: Making, *, width: int | None = None):
        width = width or config.width_of_table
        self.embedding = making.kernel("embedding", (config.vocab_size, width), ("vocab", "embed"))
        self.narrow = config.table_dim is not None
        if self.narrow:
            shape, axes = (width, config.embed_dim), ("table", "embed")
            self.projection_in = making.kernel("dense", shape, axes)
            self.projection_out = making.kernel("dense", shape[::-1], axes[::-1])
        self.scale, self.output_scale = config.scale_of_embeddings(width), config.output_scale
        self.softcap, self.dtype = config.logit_softcap, making.dtype

    def __call__(self, tokens_BL: jax.Array) -> jax.Array:
        """Return ``x_BLD``. An id beyond the table becomes NaN instead of silently another token."""
        x_BLD = take_rows(self.embedding[...], tokens_BL, self.dtype) * self.scale
        if self.narrow:
            x_BLD = project("BLE,ED->BLD", x_BLD, self.projection_in[...].astype(self.dtype))
        return constrain(x_BLD, RESIDUAL_AXES)

    def project_out(self, x_BLD: jax.Array) -> jax.Array:
        """Return ``x_BLD`` in the table's width."""
        if not self.narrow:
            return x_BLD
        return project("BLD,DE->BLE", x_BLD, self.projection_out[...].astype(x_BLD.dtype))

    def attend(self, x_BLD: jax.Array, bias_V: jax.Array | None = None) -> LogitFactors:
        """Return the logits of a tied model, x E^T times ``config.output_scale``.

        T5's and PaLM's tables have entries of variance 1, so without embed_dim^-0.5 there the logits would
        start with variance ``embed_dim``.
        """
        return logit_factors(
            self.project_out(x_BLD),
            self.embedding[...],
            ("vocab", "embed"),
            scale=self.output_scale,
            dtype=self.dtype,
            bias_V=bias_V,
            softcap=self.softcap,
        )


class LogitsProjection(nnx.Module):
    """An untied output projection without bias."""

    def __init__(self, config: TransformerConfig, making: Making):
        shape = (config.width_of_table, config.vocab_size)
        self.kernel = making.kernel("logits", shape, ("embed", "vocab"))
        self.scale, self.softcap, self.dtype = config.output_scale, config.logit_softcap, making.dtype

    def __call__(self, x_BLD: jax.Array) -> LogitFactors:
        """Return the logits, not multiplied out."""
        return logit_factors(
            x_BLD,
            self.kernel[...],
            ("embed", "vocab"),
            scale=self.scale,
            dtype=self.dtype,
            softcap=self.softcap,
        )

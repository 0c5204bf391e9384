"""The attention module: project, call the op, project."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.partitioning.rules import constrain


class KeyValues(NamedTuple):
    """Projected keys and values ``[B, M, H, K]``; with a leading layers axis when they belong to a stack."""

    keys: jax.Array
    values: jax.Array


class Attention(nnx.Module):
    """Multi-head attention without biases; self-attention when the memory is the input itself.

    Initial values follow T5X: q ~ N(0, 1/(D K)), which stands in for the usual division of the logits
    by sqrt(K); k, v ~ N(0, 1/D); o ~ N(0, 1/(H K)).
    """

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        def normal(scale: float, in_axis: tuple[int, ...], out_axis: tuple[int, ...]):
            return nnx.initializers.variance_scaling(
                scale, "fan_in", "normal", in_axis=in_axis, out_axis=out_axis
            )

        param_dtype = jnp.dtype(config.param_dtype)
        into_heads = (config.embed_dim, config.num_heads, config.head_dim)
        into_axes = ("embed", "heads", "kv")
        query_init, fan_in = normal(1.0 / config.head_dim, (0,), (1, 2)), normal(1.0, (0,), (1, 2))
        self.query = nnx.Param(query_init(rngs.params(), into_heads, param_dtype), out_sharding=into_axes)
        self.key = nnx.Param(fan_in(rngs.params(), into_heads, param_dtype), out_sharding=into_axes)
        self.value = nnx.Param(fan_in(rngs.params(), into_heads, param_dtype), out_sharding=into_axes)
        self.out = nnx.Param(
            normal(1.0, (0, 1), (2,))(
                rngs.params(), (config.num_heads, config.head_dim, config.embed_dim), param_dtype
            ),
            out_sharding=("heads", "kv", "embed"),
        )
        self.dropout_rate = config.dropout_rate
        self.dtype = jnp.dtype(config.compute_dtype)

    def _into_heads(self, x_BLD: jax.Array, kernel: nnx.Param, length_axis: str | None) -> jax.Array:
        y_BLHK = jnp.einsum("BLD,DHK->BLHK", x_BLD, kernel[...].astype(self.dtype))
        return constrain(y_BLHK, ("batch", length_axis, "heads", "kv"))

    def key_values(self, memory_BMD: jax.Array) -> KeyValues:
        """Return the projected memory, whole on every device of the length's mesh axis."""
        return KeyValues(
            self._into_heads(memory_BMD, self.key, None), self._into_heads(memory_BMD, self.value, None)
        )

    def attend(
        self,
        x_BLD: jax.Array,
        memory: KeyValues,
        *,
        mask: AttentionMask | None = None,
        bias_HLM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return ``[B, L, D]``: queries of ``x_BLD`` over a memory that is projected already."""
        out_BLHK = dot_product_attention(
            self._into_heads(x_BLD, self.query, "length"),
            memory.keys,
            memory.values,
            mask=mask,
            bias_HLM=bias_HLM,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
        )
        return jnp.einsum("BLHK,HKD->BLD", out_BLHK, self.out[...].astype(self.dtype))

    def __call__(
        self,
        x_BLD: jax.Array,
        memory_BMD: jax.Array,
        *,
        mask: AttentionMask | None = None,
        bias_HLM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return ``[B, L, D]``: ``attend`` over ``key_values(memory_BMD)``."""
        memory = self.key_values(memory_BMD)
        return self.attend(x_BLD, memory, mask=mask, bias_HLM=bias_HLM, dropout_key=dropout_key)

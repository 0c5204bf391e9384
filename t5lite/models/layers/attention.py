"""The attention module: project, call the op, project."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.config import AttentionBackend, TransformerConfig
from t5lite.models.kernels.attention import attention
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.initializers import make_parameter, make_vector
from t5lite.models.layers.position import RelativeBias, Rotation, rotate
from t5lite.models.layers.projection import project
from t5lite.partitioning.constraints import scatter_from
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain


class KeyValues(NamedTuple):
    """Projected keys and values ``[B, M, G, K]``; with a leading layers axis when they belong to a stack."""

    keys: jax.Array
    values: jax.Array


class Attention(nnx.Module):
    """Multi-head attention; self-attention when the memory is the input itself.

    With ``num_kv_heads`` it is grouped-query (Ainslie et al. 2023), with one of them multi-query attention
    (Shazeer 2019).
    """

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        embed_dim, num_heads, head_dim, kv_heads = (
            config.embed_dim,
            config.num_heads,
            config.head_dim,
            config.kv_heads,
        )
        # The one head of multi-query attention cannot be sharded; groups may be, apart from the queries.
        kv_name = "heads" if kv_heads == num_heads else "kv_heads" if kv_heads > 1 else None
        query_shape, query_axes = (embed_dim, num_heads, head_dim), ("embed", "heads", "kv")
        kv_shape, kv_axes = (embed_dim, kv_heads, head_dim), ("embed", kv_name, "kv")
        self.query = make_parameter(config, "query", query_shape, query_axes, rngs=rngs)
        self.key = make_parameter(config, "key_value", kv_shape, kv_axes, rngs=rngs)
        self.value = make_parameter(config, "key_value", kv_shape, kv_axes, rngs=rngs)
        out_shape, out_axes = (num_heads, head_dim, embed_dim), ("heads", "kv", "embed")
        self.out = make_parameter(config, "attention_out", out_shape, out_axes, rngs=rngs, num_input_axes=2)
        self.biases = config.biases
        if self.biases:
            self.query_bias = make_vector(config, query_shape[1:], query_axes[1:])
            self.key_bias = make_vector(config, kv_shape[1:], kv_axes[1:])
            self.value_bias = make_vector(config, kv_shape[1:], kv_axes[1:])
            self.out_bias = make_vector(config, (embed_dim,), ("embed",))
        self.kv_heads_axis = kv_name
        self.scale = head_dim**-0.5 if config.scale_attention else 1.0
        self.dropout_rate = config.dropout_rate
        self.backend: AttentionBackend = config.attention
        self.dtype = jnp.dtype(config.compute_dtype)

    def _into_heads(
        self, x_BLD: jax.Array, name: str, *, length_axis: str | None, heads_axis: str | None
    ) -> jax.Array:
        y_BLHK = project("BLD,DHK->BLHK", x_BLD, getattr(self, name)[...].astype(self.dtype))
        if self.biases:
            y_BLHK += getattr(self, f"{name}_bias")[...].astype(self.dtype)[None, None]
        return checkpoint_name(constrain(y_BLHK, ("batch", length_axis, heads_axis, "kv")), name)

    def key_values(self, memory_BMD: jax.Array, *, rotation: Rotation | None = None) -> KeyValues:
        """Return the projected (and rotated) memory, whole on every device of the length's mesh axis."""
        axes = {"length_axis": None, "heads_axis": self.kv_heads_axis}
        keys_BMGK = self._into_heads(memory_BMD, "key", **axes)
        return KeyValues(rotate(keys_BMGK, rotation), self._into_heads(memory_BMD, "value", **axes))

    def attend(
        self,
        x_BLD: jax.Array,
        memory: KeyValues,
        *,
        mask: AttentionMask | None = None,
        bias: RelativeBias | None = None,
        rotation: Rotation | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return ``[B, L, D]``: queries of ``x_BLD`` over a memory that is projected already."""
        q_BLHK = self._into_heads(x_BLD, "query", length_axis="length", heads_axis="heads")
        out_BLHK = attention(
            rotate(q_BLHK, rotation) * self.scale,
            memory.keys,
            memory.values,
            backend=self.backend,
            mask=AttentionMask() if mask is None else mask,
            bias=bias,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
        )
        out_BLHK = checkpoint_name(out_BLHK, "context")
        y_BLD = project("BLHK,HKD->BLD", out_BLHK, self.out[...].astype(self.dtype))
        if self.biases:
            y_BLD += self.out_bias[...].astype(self.dtype)[None, None]
        return checkpoint_name(scatter_from(y_BLD, RESIDUAL_AXES, "heads"), "attention_out")

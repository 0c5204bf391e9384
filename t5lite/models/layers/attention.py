"""The attention module: project, call the op, project."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.config import AttentionBackend, TransformerConfig
from t5lite.models.kernels.attention import attention
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.bias import add_bias
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
        embed_dim, head_dim, kv_name = config.embed_dim, config.head_dim, config.kv_heads_axis
        # Heads and kv are one dimension of a kernel: a TPU pads the last one to 128, and kv is often 64.
        width, kv_width = config.num_heads * head_dim, config.kv_heads * head_dim
        kv_shape, kv_axes = (embed_dim, kv_width), ("embed", kv_name or "kv")
        self.query = make_parameter(config, "query", (embed_dim, width), ("embed", "heads"), rngs=rngs)
        self.key = make_parameter(config, "key_value", kv_shape, kv_axes, rngs=rngs)
        self.value = make_parameter(config, "key_value", kv_shape, kv_axes, rngs=rngs)
        self.out = make_parameter(config, "attention_out", (width, embed_dim), ("heads", "embed"), rngs=rngs)
        self.biases = config.biases
        if self.biases:
            self.query_bias = make_vector(config, (width,), ("heads",))
            self.key_bias = make_vector(config, (kv_width,), kv_axes[1:])
            self.value_bias = make_vector(config, (kv_width,), kv_axes[1:])
            self.out_bias = make_vector(config, (embed_dim,), ("embed",))
        self.kv_heads_axis = kv_name
        self.head_dim = head_dim
        self.scale = head_dim**-0.5 if config.scale_attention else 1.0
        self.dropout_rate = config.dropout_rate
        self.backend: AttentionBackend = config.attention
        self.dtype = jnp.dtype(config.compute_dtype)

    def _into_heads(
        self, x_BLD: jax.Array, name: str, *, length_axis: str | None, heads_axis: str | None
    ) -> jax.Array:
        y_BLJ = project("BLD,DJ->BLJ", x_BLD, getattr(self, name)[...].astype(self.dtype))
        if self.biases:
            y_BLJ = add_bias(y_BLJ, getattr(self, f"{name}_bias")[...])
        y_BLHK = y_BLJ.reshape(*y_BLJ.shape[:2], -1, self.head_dim)
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
        out_BLJ = checkpoint_name(out_BLHK, "context").reshape(*x_BLD.shape[:2], -1)
        y_BLD = project("BLJ,JD->BLD", out_BLJ, self.out[...].astype(self.dtype))
        if self.biases:
            y_BLD = add_bias(y_BLD, self.out_bias[...])
        return checkpoint_name(scatter_from(y_BLD, RESIDUAL_AXES, "heads"), "attention_out")

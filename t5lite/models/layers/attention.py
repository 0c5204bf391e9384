"""The attention module: project, call the op, project."""

from typing import NamedTuple

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.config import AttentionSpec
from t5lite.models.kernels.attention import attention
from t5lite.models.kernels.shapes import QUERY_AXES
from t5lite.models.kernels.table import names_context, rotate
from t5lite.models.layers.attention_ops import AttentionMask, MergedKeys
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.making import Making
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.position import RelativeBias, Rotation
from t5lite.models.layers.projection import project
from t5lite.partitioning.constraints import scatter_from
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain


class KeyValues(NamedTuple):
    """Projected keys and values ``[B, M, G, K]``; with a leading layers axis when they belong to a stack."""

    keys: jax.Array
    values: jax.Array


class Attention(nnx.Module):
    """Multi-head attention; self-attention when the memory is the input itself.

    With fewer heads of keys and values than of queries it is grouped-query (Ainslie et al. 2023), with one
    of them multi-query attention (Shazeer 2019).
    """

    def __init__(self, spec: AttentionSpec, making: Making):
        embed_dim, width, kv_width = spec.embed_dim, spec.width, spec.kv_width
        # Heads and kv are one dimension of a kernel: a TPU pads the last one to 128, and kv is often 64.
        kv_shape, kv_axes = (spec.memory_dim, kv_width), ("embed", spec.kv_heads_axis or "kv")
        # T5 has the factor of the logits in the initial query kernel.
        gain = 1.0 if spec.scale != 1.0 else 1.0 / spec.head_dim
        self.query = making.kernel("query", (embed_dim, width), ("embed", "heads"), gain=gain)
        self.key = making.kernel("key_value", kv_shape, kv_axes)
        self.value = making.kernel("key_value", kv_shape, kv_axes)
        self.out = making.kernel("attention_out", (width, embed_dim), ("heads", "embed"))
        if spec.biases != "none":
            self.query_bias = making.vector((width,), ("heads",))
            self.key_bias = making.vector((kv_width,), kv_axes[1:])
            self.value_bias = making.vector((kv_width,), kv_axes[1:])
        if spec.biases == "all":
            self.out_bias = making.vector((embed_dim,), ("embed",), residual=True)
        if spec.qk_norm is not None:
            self.query_norm = Norm(spec.qk_norm, spec.head_dim, making, axis="kv")
            self.key_norm = Norm(spec.qk_norm, spec.head_dim, making, axis="kv")
        self.kv_heads_axis = spec.kv_heads_axis
        self.head_dim, self.scale, self.softcap = spec.head_dim, spec.scale, spec.softcap
        self.dropout_rate = making.dropout_rate
        self.dtype = making.dtype

    def _into_heads(
        self, x_BLD: jax.Array, name: str, *, length_axis: str | None, heads_axis: str | None
    ) -> jax.Array:
        y_BLJ = project("BLD,DJ->BLJ", x_BLD, getattr(self, name)[...].astype(self.dtype))
        if hasattr(self, f"{name}_bias"):
            y_BLJ = add_bias(y_BLJ, getattr(self, f"{name}_bias")[...])
        y_BLHK = y_BLJ.reshape(*y_BLJ.shape[:2], -1, self.head_dim)
        y_BLHK = checkpoint_name(constrain(y_BLHK, ("batch", length_axis, heads_axis, "kv")), name)
        return getattr(self, f"{name}_norm")(y_BLHK) if hasattr(self, f"{name}_norm") else y_BLHK

    def key_values(self, memory_BMD: jax.Array, *, rotation: Rotation | None = None) -> KeyValues:
        """Return the projected (and rotated) memory, whole on every device of the length's mesh axis."""
        axes = {"length_axis": None, "heads_axis": self.kv_heads_axis}
        keys_BMGK = self._into_heads(memory_BMD, "key", **axes)
        keys_BMGK = rotate(keys_BMGK, rotation, ("batch", None, self.kv_heads_axis, "kv"))
        return KeyValues(keys_BMGK, self._into_heads(memory_BMD, "value", **axes))

    def attend(
        self,
        x_BLD: jax.Array,
        memory: KeyValues,
        *,
        backend: str,
        mask: AttentionMask,
        bias: RelativeBias | None = None,
        rotation: Rotation | None = None,
        merged: MergedKeys | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return ``[B, L, D]``: queries of ``x_BLD`` over a memory that is projected already, or over two."""
        q_BLHK = self._into_heads(x_BLD, "query", length_axis="length", heads_axis="heads")
        out_BLHK = attention(
            rotate(q_BLHK, rotation, QUERY_AXES) * self.scale,
            memory.keys,
            memory.values,
            backend=backend,
            mask=mask,
            bias=bias,
            merged=merged,
            softcap=self.softcap,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
        )
        # As one dimension: a TPU pads the last one to 128, and kv is often 64.
        out_BLJ = out_BLHK.reshape(*x_BLD.shape[:2], -1)
        if not names_context(backend):
            out_BLJ = checkpoint_name(out_BLJ, "context")
        y_BLD = project("BLJ,JD->BLD", out_BLJ, self.out[...].astype(self.dtype))
        if hasattr(self, "out_bias"):
            y_BLD = add_bias(y_BLD, self.out_bias[...])
        return checkpoint_name(scatter_from(y_BLD, RESIDUAL_AXES, "heads"), "attention_out")

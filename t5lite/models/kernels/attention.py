"""Attention by the backend that was chosen for the call; all equal the reference op and its gradients."""

import jax
import jax.numpy as jnp

from t5lite.models.kernels.table import KERNELS
from t5lite.models.layers.attention_ops import AttentionMask, MergedKeys, dot_product_attention
from t5lite.models.layers.dropout import dropout
from t5lite.models.layers.position import RelativeBias


def attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    backend: str,
    mask: AttentionMask,
    bias: RelativeBias | None = None,
    merged: MergedKeys | None = None,
    softcap: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Return what ``dot_product_attention`` does.

    Args:
      q_BLHK: queries.
      k_BMGK: keys.
      v_BMGK: values.
      backend: ``reference``, or a kernel that takes the shape: what ``choose_backend`` returned.
      mask: which keys a query may see.
      bias: T5's relative bias.
      merged: keys and values of another stack's output in the same softmax, for ``reference`` alone.
      softcap: bound of the logits' size, before bias and mask; None is none.
      dropout_rate: of the softmax's weights.
      dropout_key: None is deterministic.
    """
    if backend not in KERNELS:
        bias_HLM = None if bias is None else bias.array(q_BLHK.shape[1], k_BMGK.shape[1])
        return dot_product_attention(
            q_BLHK,
            k_BMGK,
            v_BMGK,
            mask=mask,
            bias_HLM=bias_HLM,
            merged=merged,
            softcap=softcap,
            dropout_rate=dropout_rate,
            dropout_key=dropout_key,
        )
    assert merged is None  # else the kernel was refused
    if dropout_key is not None and dropout_rate > 0.0:
        share = q_BLHK.shape[2] // k_BMGK.shape[2]
        k_BMGK, v_BMGK = (jnp.repeat(x, share, axis=2) if share > 1 else x for x in (k_BMGK, v_BMGK))
        v_BMGK = drop_keys(v_BMGK, dropout_rate, dropout_key)
    return KERNELS[backend].attend(q_BLHK, k_BMGK, v_BMGK, mask=mask, bias=bias, softcap=softcap)


def drop_keys(v_BMHK: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Return values such that attention without dropout gives what it gives with dropout of the weights.

    ``dropout`` drops a key for all queries at once, so its mask of the weights is a factor on the values.
    """
    batch, length, num_heads, _ = v_BMHK.shape
    factor_BH1M = dropout(jnp.ones((batch, num_heads, 1, length), jnp.float32), rate, key)
    return (v_BMHK * jnp.transpose(factor_BH1M, (0, 3, 1, 2))).astype(v_BMHK.dtype)

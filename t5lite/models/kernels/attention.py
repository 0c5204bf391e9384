"""Attention by whichever backend serves the call; all equal the reference op and its gradients."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from t5lite.models.config import AttentionBackend
from t5lite.models.kernels.choice import choose_backend
from t5lite.models.kernels.shapes import AttentionShape
from t5lite.models.kernels.table import KERNELS
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.models.layers.dropout import dropout
from t5lite.models.layers.position import RelativeBias


def attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    backend: AttentionBackend,
    mask: AttentionMask,
    bias: RelativeBias | None = None,
    softcap: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Return what ``dot_product_attention`` does.

    Args:
      q_BLHK: queries.
      k_BMGK: keys.
      v_BMGK: values.
      backend: the wanted one; ``choose_backend`` says which it becomes.
      mask: which keys a query may see.
      bias: T5's relative bias.
      softcap: bound of the logits' size, before bias and mask; None is none.
      dropout_rate: of the softmax's weights.
      dropout_key: None is deterministic.
    """
    drops = dropout_key is not None and dropout_rate > 0.0
    shape = AttentionShape.of_arrays(q_BLHK, k_BMGK, mask, softcap=softcap)
    # Every query head drops keys of its own, which the kernels take as values of its own.
    chosen = choose_backend(backend, replace(shape, kv_heads=shape.num_heads) if drops else shape)
    if chosen not in KERNELS:
        bias_HLM = None if bias is None else bias.array(q_BLHK.shape[1], k_BMGK.shape[1])
        return dot_product_attention(
            q_BLHK,
            k_BMGK,
            v_BMGK,
            mask=mask,
            bias_HLM=bias_HLM,
            softcap=softcap,
            dropout_rate=dropout_rate,
            dropout_key=dropout_key,
        )
    if drops:
        share = shape.num_heads // shape.kv_heads
        k_BMGK, v_BMGK = (jnp.repeat(x, share, axis=2) if share > 1 else x for x in (k_BMGK, v_BMGK))
        v_BMGK = drop_keys(v_BMGK, dropout_rate, dropout_key)
    return KERNELS[chosen].attend(q_BLHK, k_BMGK, v_BMGK, mask=mask, bias=bias, softcap=softcap)


def drop_keys(v_BMHK: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Return values such that attention without dropout gives what it gives with dropout of the weights.

    ``dropout`` drops a key for all queries at once, so its mask of the weights is a factor on the values.
    """
    batch, length, num_heads, _ = v_BMHK.shape
    factor_BH1M = dropout(jnp.ones((batch, num_heads, 1, length), jnp.float32), rate, key)
    return (v_BMHK * jnp.transpose(factor_BH1M, (0, 3, 1, 2))).astype(v_BMHK.dtype)

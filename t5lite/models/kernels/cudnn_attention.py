"""Flash attention of cuDNN on NVIDIA GPUs, through ``jax.nn``."""

from typing import Literal

import jax
import jax.numpy as jnp

from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.position import RelativeBias


def cudnn_attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask,
    bias: RelativeBias | None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """Return what ``dot_product_attention`` does, but for a bias rounded to the dtype of the queries.

    Logits and softmax take no memory. Bias and mask do, as one array in that dtype: ``[1, H, L, M]`` for a
    bias alone, ``[B, 1, L, M]`` for padding and packing, ``[B, H, L, M]`` for both; so does its gradient,
    from which the gradient of the bias's table comes. cuDNN knows windows of earlier keys alone: others are
    in the mask too, and cost what all keys do.

    Args:
      q_BLHK: queries.
      k_BMGK: keys.
      v_BMGK: values.
      mask: which keys a query may see.
      bias: T5's relative bias.
      implementation: of ``jax.nn.dot_product_attention``; xla runs on any platform.
    """
    query_length, key_length = q_BLHK.shape[1], k_BMGK.shape[1]
    only_causal = mask.causal and mask.key_segment_ids_BM is None and mask.bidirectional_keys_BM is None
    before = mask.window[0] if mask.window is not None else None
    visible_BLM = None if only_causal else mask.visible(query_length, key_length)
    out_BLHK = jax.nn.dot_product_attention(
        q_BLHK,
        k_BMGK,
        v_BMGK,
        bias=None if bias is None else bias.array(query_length, key_length)[None].astype(q_BLHK.dtype),
        mask=None if visible_BLM is None else visible_BLM[:, None],
        scale=1.0,
        is_causal=only_causal,
        local_window_size=(before, 0) if only_causal and before is not None else None,
        implementation=implementation,
    )
    if visible_BLM is None or not mask.can_blind:
        return out_BLHK
    sees_any_BL = jnp.any(visible_BLM, axis=-1)
    return jnp.where(sees_any_BL[:, :, None, None], out_BLHK, jnp.zeros_like(out_BLHK))

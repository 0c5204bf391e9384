"""Flash attention for TPU (Pallas): no array of both lengths, forward or backward, bias or not."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.kernels.diagonals import Diagonals
from t5lite.models.kernels.flash_backward import backward
from t5lite.models.kernels.flash_forward import forward
from t5lite.models.kernels.heads import diagonals_by_block, join_keys, join_queries, separate_queries
from t5lite.models.kernels.tile_logits import Inputs, Settings
from t5lite.models.kernels.tiling import Tiling, make_tiling
from t5lite.models.layers.attention_ops import AttentionMask, Window
from t5lite.models.layers.position import RelativeBias

_EARLIER_THAN_ALL = -(2**30)
"""Position of a query that is before any other."""


def flash_attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask | None = None,
    bias: RelativeBias | None = None,
    softcap: float | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Return what ``dot_product_attention`` does, without its arrays ``[B, H, L, M]`` and ``[H, L, M]``.

    Its softmax is of Dao et al. 2022 (no logits are stored; the backward pass computes them again), its
    bias is of ``diagonals``. The gradient of the bias's table comes with the others. Heads of keys that
    several of the queries share are not repeated, and what no query of a tile sees by order or window is
    neither computed nor fetched.

    Args:
      q_BLHK: queries; divided by sqrt(K) already where a model does that.
      k_BMGK: keys.
      v_BMGK: values.
      mask: which keys a query may see. ``query_offset`` must be a multiple of 128 under a bias; a causal
        mask or a window needs ``L + query_offset <= M``, which is checked where it is no array.
      bias: T5's relative bias; its ``query_offset`` is that of the mask.
      softcap: bound of the logits' size, before bias and mask; None is none.
      interpret: run on any platform, slowly; for tests.

    Raises:
      ValueError: for keys that are not in order, or that end before the queries where these see by position.
    """
    batch, query_length, num_heads, head_dim = q_BLHK.shape
    _, key_length, kv_heads, _ = k_BMGK.shape
    mask = AttentionMask() if mask is None else mask
    query_offset = mask.query_offset if isinstance(mask.query_offset, int) else None
    _check(mask, query_length + (query_offset or 0), key_length)
    tiling = make_tiling(query_length, key_length, kv_heads, head_dim, turns=num_heads // kv_heads)
    diagonals, diagonals_NUPW = None, None
    if bias is not None:
        reach = min(bias.max_distance, max(query_length, key_length))
        diagonals = Diagonals(tiling.query_tile, tiling.key_tile, reach)
        diagonals_NUPW = diagonals_by_block(bias.at(diagonals.relative_positions), tiling)
    query_ids_B1L, key_ids_B1M = _segments(mask, tiling, batch, query_length, key_length)
    inputs = Inputs(
        q_BLC=_pad(join_queries(q_BLHK, tiling), tiling.query_length),
        k_BMC=_pad(join_keys(k_BMGK, tiling), tiling.key_length),
        v_BMC=_pad(join_keys(v_BMGK, tiling), tiling.key_length),
        query_offset_1=jnp.asarray(mask.query_offset, jnp.int32).reshape(1),
        diagonals_NUPW=diagonals_NUPW,
        query_ids_B1L=query_ids_B1L,
        key_ids_B1M=key_ids_B1M,
        first_query_B1M=_first_queries(mask, tiling),
    )
    settings = Settings(tiling, _band(mask), diagonals, softcap, query_offset)
    out_BLC: jax.Array = _attention(settings, interpret, inputs)
    return separate_queries(out_BLC[:, :query_length], tiling)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attention(settings: Settings, interpret: bool, inputs: Inputs) -> jax.Array:
    return forward(inputs, settings, interpret=interpret)[0]


def _attention_forward(settings: Settings, interpret: bool, inputs: Inputs) -> tuple[jax.Array, Any]:
    # Under one name: a remat policy that keeps one alone would have all computed again.
    out_BLC, logsumexp_NBPL = (
        checkpoint_name(x, "context") for x in forward(inputs, settings, interpret=interpret)
    )
    return out_BLC, (inputs, out_BLC, logsumexp_NBPL)


def _attention_backward(settings: Settings, interpret: bool, residuals: Any, dout_BLC: jax.Array) -> Any:
    inputs, out_BLC, logsumexp_NBPL = residuals
    gradients = backward(
        inputs,
        settings,
        out_BLC=out_BLC,
        logsumexp_NBPL=logsumexp_NBPL,
        dout_BLC=dout_BLC,
        interpret=interpret,
    )
    none = Inputs(*(None for _ in Inputs._fields))
    return (none._replace(**gradients._asdict()),)


_attention.defvjp(_attention_forward, _attention_backward)


def _check(mask: AttentionMask, queries_end: int, key_length: int) -> None:
    if mask.key_positions_M is not None:
        raise ValueError(
            "flash attention takes keys in order, not key_positions_M; use dot_product_attention"
        )
    if (mask.causal or mask.window is not None) and queries_end > key_length:
        raise ValueError(
            f"flash attention takes a causal mask or a window where queries end with the keys or before, not "
            f"{queries_end} positions of queries over {key_length} keys; use dot_product_attention"
        )


def _band(mask: AttentionMask) -> Window:
    """Return how many keys before and after its own position a query may see, whatever segments say."""
    before, after = mask.window or (None, None)
    return before, 0 if mask.causal and mask.bidirectional_keys_BM is None else after


def _pad(x: jax.Array, length: int) -> jax.Array:
    """Return ``x`` with zeros behind axis 1 up to ``length``."""
    padding = length - x.shape[1]
    return jnp.pad(x, ((0, 0), (0, padding), (0, 0))) if padding else x


def _segments(
    mask: AttentionMask, tiling: Tiling, batch: int, query_length: int, key_length: int
) -> tuple[jax.Array | None, jax.Array | None]:
    """Return int32 ``[B, 1, L]`` and ``[B, 1, M]`` such that equal ones see each other; None for all.

    Hidden keys are negative. Keys that only fill a tile are hidden too, where no causal mask does it.
    """
    query_ids_BL, key_ids_BM = mask.query_segment_ids_BL, mask.key_segment_ids_BM
    if key_ids_BM is None:
        hides_the_last = mask.causal and mask.bidirectional_keys_BM is None
        if tiling.key_length == key_length or hides_the_last:
            return None, None
        query_ids_BL, key_ids_BM = None, jnp.ones((batch, key_length), jnp.int32)
    if query_ids_BL is None:
        query_ids_BL = jnp.ones((batch, query_length), jnp.int32)
        key_ids_BM = (key_ids_BM != 0).astype(jnp.int32)
    key_ids_BM = jnp.where(key_ids_BM == 0, -1, key_ids_BM)
    return (
        _row(query_ids_BL, tiling.query_length, fill=0),
        _row(key_ids_BM, tiling.key_length, fill=-1),
    )


def _first_queries(mask: AttentionMask, tiling: Tiling) -> jax.Array | None:
    """Return int32 ``[B, 1, M]``, the position of the first query that sees each key; None if its own."""
    if not mask.causal or mask.bidirectional_keys_BM is None:
        return None
    own_1M = jnp.arange(mask.bidirectional_keys_BM.shape[1], dtype=jnp.int32)[None]
    first_BM = jnp.where(mask.bidirectional_keys_BM != 0, _EARLIER_THAN_ALL, own_1M)
    return _row(first_BM, tiling.key_length, fill=-_EARLIER_THAN_ALL)


def _row(ids_BL: jax.Array, length: int, *, fill: int) -> jax.Array:
    padding = length - ids_BL.shape[1]
    return jnp.pad(ids_BL.astype(jnp.int32), ((0, 0), (0, padding)), constant_values=fill)[:, None]

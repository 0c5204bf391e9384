"""The reference attention op. Other backends must equal its output and its gradients."""

import functools
import operator
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5lite.models.layers.dropout import dropout
from t5lite.models.layers.head_products import product_by_head
from t5lite.partitioning.rules import constrain

LOGITS_AXES = ("batch", "heads", "length", None)
"""Without it XLA splits the gradient of the softmax along the keys, with an all-to-all of it a layer."""

Window = tuple[int | None, int | None]
"""How many keys before a query and after it are seen besides its own; None sets no bound."""

_MASKED = float(jnp.finfo(jnp.float32).min) / 2
"""Finite, so that a fully masked row has a softmax and a gradient."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttentionMask:
    """Which keys a query may see, as a description that only an op turns into an array (or never does).

    A key is visible when all of these hold, each where it applies: it is not later than the query
    (``causal``) or is bidirectional, it is in the query's ``window``, its segment is not 0 (padding), and its
    segment is the query's.
    """

    causal: bool = field(default=False, metadata={"static": True})
    query_segment_ids_BL: jax.Array | None = None
    """int32; None lets every query see all segments but padding."""
    key_segment_ids_BM: jax.Array | None = None
    """int32; None means neither padding nor packing."""
    bidirectional_keys_BM: jax.Array | None = None
    """int32, 1 where a key is visible to earlier queries too; None means nowhere. For ``causal`` only."""
    query_offset: jax.Array | int = 0
    """Position of the first query on the keys' axis; other than 0 only in cached decoding."""
    window: Window | None = field(default=None, metadata={"static": True})
    """It hides bidirectional keys too, where transformers shows all of them (the images of Gemma 3)."""
    key_positions_M: jax.Array | None = None
    """int32, where each key stands on the queries' axis; None is its index. Negative hides an empty place."""
    writers_BLM: jax.Array | None = None
    """int32, of L texts that have one query each, at one position, and L keys at every place, one beside the
    other: the number of the text whose key stands there in the query's own. The rest of the mask is then of
    one query and of places. None: there is a text a row."""

    @property
    def can_blind(self) -> bool:
        """Whether a query may see no key at all, for which a causal mask alone is no reason."""
        return any(each is not None for each in (self.key_segment_ids_BM, self.window, self.key_positions_M))

    @property
    def num_texts(self) -> int:
        """How many texts a row has."""
        return 1 if self.writers_BLM is None else self.writers_BLM.shape[1]

    def visible(self, query_length: int, key_length: int) -> jax.Array | None:
        """Return bool ``[B or 1, L, M]``, or None when everything is visible."""
        if self.writers_BLM is None:
            return self._visible(query_length, key_length)
        own_BLML = self.writers_BLM[..., None] == jnp.arange(self.num_texts)[None, None, None]
        places_B1M = self._visible(1, self.writers_BLM.shape[2])
        if places_B1M is not None:
            own_BLML = own_BLML & places_B1M[..., None]
        return own_BLML.reshape(*own_BLML.shape[:2], key_length)

    def _visible(self, query_length: int, key_length: int) -> jax.Array | None:
        conditions = (
            self._not_later(query_length, key_length),
            self._filled(),
            self._in_window(query_length, key_length),
            self._in_segment(),
        )
        given = [each for each in conditions if each is not None]
        return functools.reduce(operator.and_, given) if given else None

    def _positions(self, query_length: int, key_length: int) -> tuple[jax.Array, jax.Array]:
        """Return those of keys ``[1, M]`` and of queries ``[L, 1]``."""
        queries_L = jnp.arange(query_length) + self.query_offset
        keys_M = jnp.arange(key_length) if self.key_positions_M is None else self.key_positions_M
        return keys_M[None, :], queries_L[:, None]

    def _not_later(self, query_length: int, key_length: int) -> jax.Array | None:
        if not self.causal:
            return None
        keys_1M, queries_L1 = self._positions(query_length, key_length)
        visible = (keys_1M <= queries_L1)[None]
        if self.bidirectional_keys_BM is not None:
            visible = visible | (self.bidirectional_keys_BM[:, None, :] != 0)
        return visible

    def _filled(self) -> jax.Array | None:
        return None if self.key_positions_M is None else (self.key_positions_M >= 0)[None, None, :]

    def _in_window(self, query_length: int, key_length: int) -> jax.Array | None:
        if self.window is None or self.window == (None, None):
            return None
        keys_1M, queries_L1 = self._positions(query_length, key_length)
        before, after = self.window
        inside = jnp.ones((1, query_length, key_length), bool)
        if before is not None:
            inside = inside & (keys_1M >= queries_L1 - before)[None]
        if after is not None:
            inside = inside & (keys_1M <= queries_L1 + after)[None]
        return inside

    def _in_segment(self) -> jax.Array | None:
        if self.key_segment_ids_BM is None:
            return None
        key_ids_B1M = self.key_segment_ids_BM[:, None, :]
        same = key_ids_B1M != 0
        if self.query_segment_ids_BL is not None:
            same = same & (self.query_segment_ids_BL[:, :, None] == key_ids_B1M)
        return same


class MergedKeys(NamedTuple):
    """Keys and values of another stack's output, in one softmax with a layer's own (T5Gemma 2)."""

    k_BNGK: jax.Array
    v_BNGK: jax.Array
    mask: AttentionMask
    """Which of them a query may see; the softmax's other mask is of the layer's own."""


def dot_product_attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask | None = None,
    bias_HLM: jax.Array | None = None,
    merged: MergedKeys | None = None,
    softcap: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Return ``softmax(q k^T + bias) v`` as ``[B, L, H, K]`` in the dtype of ``v``.

    There may be fewer heads G of keys and values than H of queries: query heads ``i H/G .. (i+1) H/G - 1``
    share head ``i`` (Ainslie et al. 2023). The logits are **not** divided by sqrt(K) here: that is up to
    ``Attention``. ``softcap`` makes ``softcap * tanh(q k^T / softcap)`` of ``q k^T`` (Gemma 2). Logits, bias
    and softmax are float32, and so is dropout of the weights. A row that sees no key gives exactly 0 and
    sends no gradient back; transformers would attend uniformly to the padding there.

    ``merged`` keys come behind the others in the softmax, without bias. Neither keys nor values are laid
    together: in a step of decoding, both would be copied for one query.
    """
    length, num_own = q_BLHK.shape[1], k_BMGK.shape[1]
    logits_BHLM = _logits(q_BLHK, k_BMGK, softcap)
    if bias_HLM is not None:
        logits_BHLM += bias_HLM[None].astype(jnp.float32)
    visible_BLM = None if mask is None else mask.visible(length, num_own)
    if merged is not None:
        merged_BHLN = _logits(q_BLHK, merged.k_BNGK, softcap)
        visible_BLM = _beside(visible_BLM, merged.mask, length, (num_own, merged_BHLN.shape[-1]))
        logits_BHLM = constrain(jnp.concatenate([logits_BHLM, merged_BHLN], axis=-1), LOGITS_AXES)
    if visible_BLM is not None:
        logits_BHLM = jnp.where(visible_BLM[:, None], logits_BHLM, _MASKED)
    weights_BHLM = jax.nn.softmax(logits_BHLM, axis=-1)
    weights_BHLM = dropout(weights_BHLM, dropout_rate, dropout_key).astype(v_BMGK.dtype)
    if merged is None:
        out_BLHK = _context(weights_BHLM, v_BMGK)
    else:
        out_BLHK = _context(weights_BHLM[..., :num_own], v_BMGK)
        out_BLHK += _context(weights_BHLM[..., num_own:], merged.v_BNGK)
    can_blind = (mask is not None and mask.can_blind) or (merged is not None and merged.mask.can_blind)
    if visible_BLM is not None and can_blind:
        sees_any_BL = jnp.any(visible_BLM, axis=-1)
        out_BLHK = jnp.where(sees_any_BL[:, :, None, None], out_BLHK, 0)
    return out_BLHK


def _logits(q_BLHK: jax.Array, k_BMGK: jax.Array, softcap: float | None) -> jax.Array:
    """Return float32 ``logits_BHLM``."""
    groups, share = k_BMGK.shape[2], q_BLHK.shape[2] // k_BMGK.shape[2]
    if share == 1:
        logits_BHLM = product_by_head("BLHK,BMHK->BHLM", q_BLHK, k_BMGK, dtype=jnp.float32)
    else:
        q_BLGSK = q_BLHK.reshape(*q_BLHK.shape[:2], groups, share, q_BLHK.shape[3])
        logits_BGSLM = product_by_head("BLGSK,BMGK->BGSLM", q_BLGSK, k_BMGK, dtype=jnp.float32)
        logits_BHLM = logits_BGSLM.reshape(logits_BGSLM.shape[0], groups * share, *logits_BGSLM.shape[3:])
    logits_BHLM = constrain(logits_BHLM, LOGITS_AXES)
    return logits_BHLM if softcap is None else softcap * jnp.tanh(logits_BHLM / softcap)


def _context(weights_BHLM: jax.Array, v_BMGK: jax.Array) -> jax.Array:
    """Return the sum of values by their weights, ``[B, L, H, K]``."""
    groups, share = v_BMGK.shape[2], weights_BHLM.shape[1] // v_BMGK.shape[2]
    if share == 1:
        return product_by_head("BHLM,BMHK->BLHK", weights_BHLM, v_BMGK)
    weights_BGSLM = weights_BHLM.reshape(-1, groups, share, *weights_BHLM.shape[2:])
    out_BLGSK = product_by_head("BGSLM,BMGK->BLGSK", weights_BGSLM, v_BMGK)
    return out_BLGSK.reshape(*out_BLGSK.shape[:2], groups * share, out_BLGSK.shape[4])


def _beside(
    own_BLM: jax.Array | None, merged: AttentionMask, length: int, num_keys: tuple[int, int]
) -> jax.Array | None:
    """Return what is visible of a layer's own keys and of merged ones behind them; None: everything."""
    merged_BLN = merged.visible(length, num_keys[1])
    if own_BLM is None and merged_BLN is None:
        return None
    each = (own_BLM, merged_BLN)
    given = [jnp.ones((1, 1, num), bool) if x is None else x for x, num in zip(each, num_keys, strict=True)]
    batch = max(len(x) for x in given)
    return jnp.concatenate([jnp.broadcast_to(x, (batch, length, x.shape[2])) for x in given], axis=-1)

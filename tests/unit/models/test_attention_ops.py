import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention

B, L, M, H, K = 2, 5, 6, 3, 4
QUERY_IDS = np.array([[1, 1, 2, 2, 0], [1, 1, 1, 0, 0]])
KEY_IDS = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 0, 0]])


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(B, L, H, K), (B, M, H, K), (B, M, H, K), (H, L, M)]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def attention_in_float64(q, k, v, bias, visible, softcap=None):
    logits = np.einsum("blhk,bmhk->bhlm", q.astype(np.float64), k)
    logits = (logits if softcap is None else softcap * np.tanh(logits / softcap)) + bias[None]
    weights = np.exp(logits) * visible[:, None]
    total = weights.sum(-1, keepdims=True)
    return np.einsum("bhlm,bmhk->blhk", weights / np.where(total == 0, 1, total), v)


def visible_by_definition(*, causal, query_ids, key_ids, offset=0):
    visible = np.ones((B, L, M), bool)
    for b, i, j in np.ndindex(B, L, M):
        visible[b, i, j] = not (causal and j > i + offset)
        if key_ids is not None:
            visible[b, i, j] &= key_ids[b, j] != 0
            visible[b, i, j] &= query_ids is None or query_ids[b, i] == key_ids[b, j]
    return visible


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("ids", [(None, None), (None, KEY_IDS), (QUERY_IDS, KEY_IDS)])
@pytest.mark.parametrize("offset", [0, 2])
def test_equals_attention_in_float64(causal, ids, offset):
    q, k, v, bias = inputs()
    mask = AttentionMask(
        causal=causal, query_segment_ids_BL=ids[0], key_segment_ids_BM=ids[1], query_offset=offset
    )
    visible = visible_by_definition(causal=causal, query_ids=ids[0], key_ids=ids[1], offset=offset)
    got = jax.jit(dot_product_attention)(q, k, v, mask=mask, bias_HLM=bias)
    np.testing.assert_allclose(got, attention_in_float64(q, k, v, bias, visible), atol=2e-6)


BOUNDS = st.none() | st.integers(0, M)


@settings(max_examples=60, deadline=None)
@given(
    window=st.none() | st.tuples(BOUNDS, BOUNDS),
    key_positions=st.none() | st.permutations([-1, -1, 2, 3, 4, 5]),
    prefix=st.booleans(),
    mask=st.fixed_dictionaries({"causal": st.booleans(), "query_offset": st.integers(0, 3)}),
    softcap=st.sampled_from([None, 0.5, 30.0]),
    with_segments=st.booleans(),
)
def test_windows_ring_caches_and_softcap_by_definition(
    window, key_positions, prefix, mask, softcap, with_segments
):
    q, k, v, bias = inputs()
    ids = (QUERY_IDS, KEY_IDS) if with_segments else (None, None)
    bidirectional = np.array([[1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]) if prefix else None
    positions = np.arange(M) if key_positions is None else np.array(key_positions)
    visible = visible_by_definition(causal=False, query_ids=ids[0], key_ids=ids[1])
    before, after = (np.inf if bound is None else bound for bound in window or (None, None))
    for b, i, j in np.ndindex(B, L, M):
        query, key = i + mask["query_offset"], positions[j]
        in_order = not mask["causal"] or key <= query or (prefix and bidirectional[b, j])
        visible[b, i, j] &= in_order and key >= 0 and query - before <= key <= query + after
    mask = AttentionMask(
        **mask,
        query_segment_ids_BL=ids[0],
        key_segment_ids_BM=ids[1],
        bidirectional_keys_BM=bidirectional,
        window=window,
        key_positions_M=None if key_positions is None else positions,
    )
    got = dot_product_attention(q, k, v, mask=mask, bias_HLM=bias, softcap=softcap)
    expected = attention_in_float64(q, k, v, bias, visible, softcap)
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_no_mask_is_built_when_everything_is_visible():
    assert AttentionMask().visible(L, M) is None
    assert AttentionMask(window=(None, None)).visible(L, M) is None
    assert AttentionMask(query_segment_ids_BL=jnp.asarray(QUERY_IDS)).visible(L, M) is None


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_row_that_sees_nothing_gives_zero_and_no_gradient(dtype):
    q, k, v, bias = inputs()
    q, k, v = (x.astype(dtype) for x in (q, k, v))
    mask = AttentionMask(
        causal=True, query_segment_ids_BL=jnp.asarray(QUERY_IDS), key_segment_ids_BM=jnp.asarray(KEY_IDS)
    )

    def out(q, k, v, bias):
        return dot_product_attention(q, k, v, mask=mask, bias_HLM=bias)

    # In row 0 the queries of segment 2 come before the keys of segment 2 are reached, or are padding.
    blind = ~visible_by_definition(causal=True, query_ids=QUERY_IDS, key_ids=KEY_IDS).any(-1)
    assert blind.sum() == 4
    assert not np.asarray(out(q, k, v, bias))[blind].any()
    gradients = jax.grad(lambda *a: jnp.sum(out(*a).astype(jnp.float32) ** 2), argnums=(0, 1, 2, 3))(
        q, k, v, bias
    )
    assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)
    assert not np.asarray(gradients[0], np.float32)[blind].any()
    assert np.asarray(gradients[0], np.float32)[~blind].any()


def test_softmax_is_float32_under_bfloat16():
    # The weights differ by up to a thousandth, less than two neighbours in bfloat16 do (1/256).
    q, k = jnp.zeros((1, 1, 1, 4), jnp.bfloat16), jnp.zeros((1, 300, 1, 4), jnp.bfloat16)
    bias = jnp.linspace(0, 1e-3, 300)[None, None]
    weights = jax.grad(lambda v: dot_product_attention(q, k, v, bias_HLM=bias).sum())(
        jnp.zeros((1, 300, 1, 1), jnp.float32)
    )
    np.testing.assert_allclose(weights.ravel(), jax.nn.softmax(bias.ravel()), rtol=1e-6)

"""The TPU kernels in Pallas' interpreter, against the reference op."""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.models.kernels import tiling
from t5lite.models.kernels.diagonals import Diagonals, collapse, expand
from t5lite.models.kernels.flash_attention import flash_attention
from t5lite.models.kernels.walk import Walk
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.models.layers.position import RelativeBias, relative_position_bucket

pytestmark = pytest.mark.slow

NUM_BUCKETS, MAX_DISTANCE = 32, 128
NAMES = ("out", "q", "k", "v", "table")


expand_jitted = jax.jit(expand, static_argnames=("key_tile", "query_tile"))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles at lengths that an interpreter can bear."""
    monkeypatch.setattr(tiling, "_LONGEST_TILE", 128)


def make_arrays(lengths, *, heads=2, kv_heads=None, head_dim=16, batch=2, dtype=jnp.float32, seed=0):
    """Return q, k, v, the table and the output's gradient; logits have a spread of about 1."""
    rng = np.random.default_rng(seed)
    query_length, key_length = lengths

    def normal(length, heads):
        return jnp.asarray(rng.standard_normal((batch, length, heads, head_dim)), dtype)

    table = jnp.asarray(rng.standard_normal((NUM_BUCKETS, heads)), jnp.float32)
    q = normal(query_length, heads) * dtype(head_dim**-0.5)
    k, v = (normal(key_length, kv_heads or heads) for _ in range(2))
    return q, k, v, table, normal(query_length, heads)


def make_segments(rng, batch, length):
    """Return rows of segments 1, 2, … of random lengths, and padding behind them."""
    ids = np.zeros((batch, length), np.int32)
    for row in ids:
        ends = np.sort(rng.integers(0, length + 1, rng.integers(1, 5)))
        for number, (start, end) in enumerate(zip((0, *ends[:-1]), ends, strict=True), 1):
            row[start:end] = number
    return jnp.asarray(ids)


def relative_bias(table, bidirectional):
    return None if bidirectional is None else RelativeBias(table, bidirectional, MAX_DISTANCE)


def interpreted(q, k, v, mask, bias, softcap=None):
    return flash_attention(q, k, v, mask=mask, bias=bias, softcap=softcap, interpret=True)


def reference(q, k, v, mask, bias, softcap=None):
    bias_HLM = None if bias is None else bias.array(q.shape[1], k.shape[1])
    return dot_product_attention(q, k, v, mask=mask, bias_HLM=bias_HLM, softcap=softcap)


@functools.partial(jax.jit, static_argnames=("op", "bidirectional", "softcap"))
def out_and_gradients(op, q, k, v, table, dout, mask, bidirectional, softcap=None):
    def out(q, k, v, table):
        return op(q, k, v, mask=mask, bias=relative_bias(table, bidirectional), softcap=softcap)

    value, pullback = jax.vjp(out, q, k, v, table)
    return value, *pullback(dout)


def largest_differences(arrays, mask, bidirectional, softcap=None):
    """Return by name the largest difference, relative to the reference's largest entry (at least 1)."""
    expected = out_and_gradients(reference, *arrays, mask, bidirectional, softcap)
    got = out_and_gradients(interpreted, *arrays, mask, bidirectional, softcap)
    differences = {}
    for name, a, b in zip(NAMES, expected, got, strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        differences[name] = np.abs(a - b).max() / max(1.0, np.abs(a).max())
    return differences


CASES = {
    "encoder": {"lengths": (300, 300), "bidirectional": True, "segments": "keys"},
    "packed encoder": {"lengths": (256, 256), "bidirectional": True, "segments": "both"},
    "decoder": {"lengths": (300, 300), "bidirectional": False, "causal": True, "segments": "both"},
    "unpadded decoder": {"lengths": (200, 200), "bidirectional": False, "causal": True},
    "prefix": {
        "lengths": (300, 300),
        "bidirectional": False,
        "causal": True,
        "segments": "both",
        "prefix": True,
    },
    "unpadded prefix": {"lengths": (200, 200), "bidirectional": None, "causal": True, "prefix": True},
    "cross": {"lengths": (114, 300), "bidirectional": None, "segments": "both"},
    "cross, long queries": {"lengths": (300, 40), "bidirectional": None, "segments": "keys"},
    "nothing hidden": {"lengths": (130, 270), "bidirectional": True},
    "one token": {"lengths": (1, 1), "bidirectional": True},
}


def make_case(*, lengths, bidirectional=None, causal=False, segments=None, prefix=False, window=None, seed=0):
    rng = np.random.default_rng(seed)
    query_length, key_length = lengths
    key_ids = make_segments(rng, 2, key_length) if segments else None
    query_ids = make_segments(rng, 2, query_length) if segments == "both" else None
    if query_length == key_length and query_ids is not None:
        query_ids = key_ids
    mask = AttentionMask(
        causal=causal,
        query_segment_ids_BL=query_ids,
        key_segment_ids_BM=key_ids,
        bidirectional_keys_BM=jnp.asarray(rng.integers(0, 2, (2, key_length)), jnp.int32) if prefix else None,
        window=window,
    )
    return lengths, mask, bidirectional


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_reference_in_float32(case):
    lengths, mask, bidirectional = make_case(**case)
    differences = largest_differences(make_arrays(lengths), mask, bidirectional)
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize("name", ["encoder", "decoder", "cross"])
def test_equals_the_reference_in_bfloat16(name):
    """Four units in the last place of the largest entry: both round weights and gradients to bfloat16."""
    lengths, mask, bidirectional = make_case(**CASES[name])
    differences = largest_differences(make_arrays(lengths, dtype=jnp.bfloat16), mask, bidirectional)
    assert max(differences.values()) < 4 * 2**-8, differences


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "head_dim"), [(2, 64), (4, 64), (3, 64), (2, 128), (1, 8), (4, 32)])
def test_heads_share_blocks_of_whole_registers(heads, head_dim):
    lengths, mask, bidirectional = make_case(lengths=(140, 140), bidirectional=True, segments="keys")
    arrays = make_arrays(lengths, heads=heads, head_dim=head_dim, batch=2)
    differences = largest_differences(arrays, mask, bidirectional)
    assert max(differences.values()) < 1e-5, differences


def test_large_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "_LONGEST_TILE", 256)
    lengths, mask, bidirectional = make_case(lengths=(300, 500), bidirectional=True, segments="keys")
    differences = largest_differences(make_arrays(lengths, heads=1), mask, bidirectional)
    assert max(differences.values()) < 1e-5, differences


LOCAL = {
    "Gemma 2's decoder": ({"lengths": (400, 400), "causal": True, "window": (149, None)}, 4, 2, 4.0),
    "T5Gemma's encoder": ({"lengths": (400, 400), "window": (99, 100), "segments": "both"}, 2, 1, 4.0),
    "one key on either side": ({"lengths": (300, 300), "window": (1, 1)}, 1, 1, None),
    "only itself": ({"lengths": (260, 260), "window": (0, 0), "causal": True}, 2, 1, None),
    "prefix": ({"lengths": (300, 300), "window": (70, 70), "causal": True, "prefix": True}, 1, 1, None),
    "more keys than queries": ({"lengths": (130, 500), "window": (20, 200)}, 1, 1, None),
    "a bias a head": ({"lengths": (300, 300), "window": (140, 10), "bidirectional": True}, 4, 2, 2.0),
    "registers that are filled": ({"lengths": (150, 150), "causal": True, "segments": "both"}, 6, 3, None),
}


@pytest.mark.parametrize(("case", "heads", "kv_heads", "softcap"), LOCAL.values(), ids=LOCAL)
def test_windows_shared_heads_and_softcap(case, heads, kv_heads, softcap):
    lengths, mask, bidirectional = make_case(**case)
    arrays = make_arrays(lengths, heads=heads, kv_heads=kv_heads, head_dim=24, batch=2)
    differences = largest_differences(arrays, mask, bidirectional, softcap)
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize(("kv_heads", "head_dim"), [(2, 128), (4, 64), (1, 64)])
def test_shared_heads_fill_blocks_of_whole_registers(kv_heads, head_dim):
    lengths, mask, _ = make_case(lengths=(140, 140), segments="keys")
    arrays = make_arrays(lengths, heads=4, kv_heads=kv_heads, head_dim=head_dim)
    differences = largest_differences(arrays, mask, None)
    assert max(differences.values()) < 1e-5, differences


BOUNDS = st.none() | st.integers(0, 230)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    sees=st.sampled_from(["both ways", "causal", "prefix"]),
    window=st.none() | st.tuples(BOUNDS, BOUNDS),
    shared=st.booleans(),
    softcap=st.sampled_from([None, 1.0]),
    with_bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_anything_together_equals_the_reference(sees, window, shared, softcap, with_bias, seed):
    case = {
        "lengths": (200, 200),
        "causal": sees != "both ways",
        "prefix": sees == "prefix",
        "segments": "both",
    }
    bidirectional = sees == "both ways" if with_bias else None
    lengths, mask, _ = make_case(**case, window=window, seed=seed)
    arrays = make_arrays(lengths, heads=2, kv_heads=1 if shared else 2, head_dim=8, batch=2, seed=seed)
    differences = largest_differences(arrays, mask, bidirectional, softcap)
    assert max(differences.values()) < 1e-5, differences


def test_what_is_outside_the_window_is_not_computed():
    """Not a number times a weight of 0 is not a number."""
    q, k, v, table, dout = make_arrays((128, 512), heads=2, kv_heads=1)
    beyond = jnp.arange(512)[None, :, None, None] >= 256
    k, v = (jnp.where(beyond, jnp.nan, x) for x in (k, v))
    mask = AttentionMask(window=(50, 100))
    got = out_and_gradients(interpreted, q, k, v, table, dout, mask, None)
    assert all(np.isfinite(each).all() for each in got)
    differences = largest_differences(
        (q, *(jnp.where(beyond, 0, x) for x in (k, v)), table, dout), mask, None
    )
    assert max(differences.values()) < 1e-5, differences


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.tuples(*[st.sampled_from([128, 256, 384])] * 2),
    numbers=st.tuples(*[st.integers(1, 6)] * 2),
    bounds=st.tuples(*[st.none() | st.integers(0, 900)] * 2),
    shift=st.integers(-600, 600),
)
def test_a_walk_meets_what_a_band_leaves(sizes, numbers, bounds, shift):
    walk = Walk(sizes[0], numbers[0], sizes[1], numbers[1], *bounds)
    back, ahead = (np.inf if bound is None else bound for bound in bounds)
    outer = np.arange(numbers[0])[:, None] * sizes[0] + shift
    inner = np.arange(numbers[1])[None, :] * sizes[1]
    meets = (inner + sizes[1] - 1 >= outer - back) & (inner <= outer + sizes[0] - 1 + ahead)
    np.testing.assert_array_equal(walk.counts(shift), meets.sum(axis=1))
    assert walk.num_steps(shift) == max(1, meets.sum(axis=1).max()) <= walk.num_steps(None)


def test_what_needs_the_reference_is_refused():
    q, k, v, *_ = make_arrays((20, 10))
    with pytest.raises(ValueError, match="keys in order, not key_positions_M"):
        flash_attention(q, k, v, mask=AttentionMask(key_positions_M=jnp.arange(10)))
    for mask in (AttentionMask(causal=True), AttentionMask(window=(3, 3))):
        with pytest.raises(ValueError, match="not 20 positions of queries over 10 keys"):
            flash_attention(q, k, v, mask=mask)


def test_a_row_that_sees_nothing_gives_zero_and_no_gradient():
    lengths = (200, 200)
    ids = np.ones((2, 200), np.int32)
    ids[0, 150:], ids[1] = 0, 0
    query_ids = np.where(np.arange(200) < 20, 2, ids)  # segment 2 has no keys
    mask = AttentionMask(query_segment_ids_BL=jnp.asarray(query_ids), key_segment_ids_BM=jnp.asarray(ids))
    q, k, v, table, dout = make_arrays(lengths)
    out, *gradients = out_and_gradients(interpreted, q, k, v, table, dout, mask, True)
    blind = (query_ids == 0) | (query_ids == 2)
    assert not np.asarray(out)[blind].any()
    assert np.asarray(out)[~blind].all()
    assert not np.asarray(gradients[0])[blind].any()
    assert not np.asarray(gradients[1])[ids == 0].any()
    assert not np.asarray(gradients[2])[ids == 0].any()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    differences = largest_differences((q, k, v, table, dout), mask, True)
    assert max(differences.values()) < 1e-5, differences


def test_queries_may_start_in_the_middle_of_the_keys():
    """As they do on a device that holds a part of the length."""
    q, k, v, table, dout = make_arrays((384, 384), heads=2, kv_heads=1)

    def run(op, q, dout, mask):
        return out_and_gradients(op, q, k, v, table, dout, mask, None)

    mask = AttentionMask(causal=True, window=(130, 0))
    out, dq, *of_keys = run(reference, q, dout.at[:, :256].set(0), mask)
    expected = (out[:, 256:], dq[:, 256:], *of_keys)
    got = run(interpreted, q[:, 256:], dout[:, 256:], replace(mask, query_offset=jnp.int32(256)))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_cost_is_of_the_device_with_the_last_queries():
    """All wait for it: what comes before sees fewer keys."""
    q, k, v, *_ = make_arrays((1024, 4096), heads=2, kv_heads=1)

    def costs(offset):
        def run(q):
            return flash_attention(q, k, v, mask=AttentionMask(causal=True, query_offset=offset)).sum()

        return re.findall(r"CostEstimate\(flops=\d+", str(jax.make_jaxpr(jax.grad(run))(q)))

    assert costs(jnp.int32(0)) == costs(4096 - 1024) != costs(0)


def test_diagonals_hold_the_bias_of_every_tile():
    diagonals = Diagonals(query_tile=256, key_tile=128, reach=MAX_DISTANCE)

    def bucket(relative_position):
        return relative_position_bucket(
            relative_position, bidirectional=True, num_buckets=NUM_BUCKETS, max_distance=MAX_DISTANCE
        )

    row = bucket(diagonals.relative_positions).astype(jnp.float32)[None]
    for distance in range(-1024, 1152, 128):  # of a tile's first key from its first query
        start = int(diagonals.start(jnp.int32(distance)))
        tile_ST = expand_jitted(row[:, start : start + diagonals.window], key_tile=128, query_tile=256)
        relative_ST = distance + jnp.arange(128)[:, None] - jnp.arange(256)[None, :]
        np.testing.assert_array_equal(tile_ST, bucket(relative_ST))


@pytest.mark.parametrize(("keys", "queries"), [(128, 256), (256, 128)])
def test_collapse_is_the_transpose_of_expand(keys, queries):
    rng = np.random.default_rng(0)
    tile_ST = jnp.asarray(rng.standard_normal((keys, queries)), jnp.float32)

    def expanded(row_1W):
        return jnp.vdot(expand_jitted(row_1W, key_tile=keys, query_tile=queries), tile_ST)

    basis = jnp.eye(keys + queries)[:, None]
    expected = np.array([expanded(row_1W) for row_1W in basis[:: (keys + queries) // 48]])
    got = np.asarray(jax.jit(collapse)(tile_ST))[0, :: (keys + queries) // 48]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "tile", "number"), [(1, 128, 1), (512, 512, 1), (513, 384, 2), (640, 384, 2), (4096, 512, 8)]
)
def test_tiles_are_few_and_hardly_longer_than_the_sequence(monkeypatch, length, tile, number):
    monkeypatch.setattr(tiling, "_LONGEST_TILE", 512)
    got = tiling.make_tiling(length, length, 2, 64)
    assert (got.query_tile, got.num_query_tiles) == (got.key_tile, got.num_key_tiles) == (tile, number)


def test_heads_that_fit_no_block_are_refused():
    assert tiling.heads_per_block(16, 64) == 2
    assert tiling.heads_per_block(3, 64) == 3
    assert tiling.heads_per_block(32, 80) is None
    with pytest.raises(ValueError, match="32 heads of 80 columns"):
        tiling.make_tiling(128, 128, 32, 80)

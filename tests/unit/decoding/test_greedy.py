from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.decoding import advance, greedy, start_cache
from t5lite.models.config import (
    EncoderDecoderConfig,
    Execution,
    LearnedPositions,
    PlainMLP,
    RelativePositions,
)
from t5lite.models.functional import build

LENGTH = 12


def make_model(seed: int, execution: Execution | None = None, **changes: Any):
    fields: dict[str, Any] = {
        "vocab_size": 12,
        "embed_dim": 16,
        "mlp_dim": 24,
        "head_dim": 4,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "positions": RelativePositions(num_buckets=8, max_distance=20),
    }
    model = build(EncoderDecoderConfig(**{**fields, **changes}), execution)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: jnp.asarray(0.5 * rng.standard_normal(x.shape), x.dtype), model.abstract_params
    )
    return model, params


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, 12, (8, 7))
    lengths = np.array([7, 3, 5, 1, 7, 2, 6, 4])
    segment_ids = (np.arange(7)[None, :] < lengths[:, None]).astype(np.int32)
    return jnp.asarray(np.where(segment_ids, tokens, 9), jnp.int32), jnp.asarray(segment_ids)


def uncached(model, params, tokens_BM, segment_ids_BM):
    """Without a cache: rerun the decoder on all that is there, for every position."""

    @jax.jit
    def all_logits(params, inputs_BL):
        bound = model.bind(params)
        encoded_BMD = bound.encode(tokens_BM, segment_ids_BM=segment_ids_BM)
        return bound.decode(inputs_BL, encoded_BMD, encoder_segment_ids_BM=segment_ids_BM)

    inputs = np.zeros((len(tokens_BM), LENGTH + 1), np.int32)
    inputs[:, 0] = model.config.start_id
    ended = np.zeros(len(tokens_BM), bool)
    for position in range(LENGTH):
        logits_BV = all_logits(params, inputs[:, :LENGTH])[:, position]
        inputs[:, position + 1] = np.where(ended, 0, np.argmax(logits_BV, axis=-1))
        ended |= inputs[:, position + 1] == 1
    return inputs[:, 1:]


@pytest.mark.parametrize(
    ("seed", "changes"),
    [
        (7, {"start_id": 5}),
        (
            2,
            {
                "mlp": PlainMLP(),
                "tie_embeddings": True,
                "execution": Execution(scan_unroll=-1, remat="full"),
            },
        ),
    ],
    ids=["1.1-from-5", "1.0-unrolled"],
)
def test_equals_the_uncached_argmax_token_for_token(rows, seed, changes):
    model, params = make_model(seed, **changes)
    tokens, segment_ids = rows
    got = jax.jit(
        lambda params, tokens, ids: greedy(
            model.bind(params), tokens, encoder_segment_ids_BM=ids, max_decode_length=LENGTH
        )
    )(params, tokens, segment_ids)
    expected = uncached(model, params, tokens, segment_ids)
    np.testing.assert_array_equal(got, expected)
    assert len({row.tobytes() for row in expected}) > 4  # rows that are all the same would prove little
    ended = (expected == 1).any(axis=1)
    assert ended.any()
    assert not ended.all()


def test_cached_logits_equal_teacher_forced_logits(rows):
    model, params = make_model(0)
    tokens, segment_ids = rows
    inputs = jnp.asarray(np.random.default_rng(2).integers(2, 12, (8, LENGTH)), jnp.int32)

    @jax.jit
    def cached(params):
        bound = model.bind(params)
        cache = start_cache(bound, tokens, encoder_segment_ids_BM=segment_ids, max_decode_length=LENGTH)

        def step(cache, token_B):
            read, cache = advance(bound, cache, token_B)
            return cache, read.logits_RV

        return jnp.swapaxes(jax.lax.scan(step, cache, inputs.T)[1], 0, 1)

    @jax.jit
    def teacher_forced(params):
        bound = model.bind(params)
        encoded = bound.encode(tokens, segment_ids_BM=segment_ids)
        return bound.decode(inputs, encoded, encoder_segment_ids_BM=segment_ids)

    np.testing.assert_allclose(cached(params), teacher_forced(params), atol=3e-5)


@pytest.mark.parametrize("lengths", [(4, 5), (5, 4)], ids=["result", "inputs"])
def test_what_a_learned_table_cannot_hold_is_refused_before_work(lengths):
    model, params = make_model(0, positions=LearnedPositions(), max_length=4)
    inputs_length, max_decode_length = lengths
    tokens = jnp.ones((1, inputs_length), jnp.int32)
    with pytest.raises(ConfigError, match=r"5 tokens is longer than the 4 rows"):
        greedy(model.bind(params), tokens, max_decode_length=max_decode_length)
    assert greedy(model.bind(params), tokens[:, :4], max_decode_length=4).shape == (1, 4)


class ScriptedModel:
    """Says what it is told to, and counts how often it is asked."""

    def __init__(self, script_BL):
        self.config = make_model(0)[0].config
        self.script_BL = jnp.asarray(script_BL)
        self.inputs: list[list[int]] = []

    def encode(self, tokens_BM, *, segment_ids_BM=None):
        return jnp.zeros((*tokens_BM.shape, 4))

    def cross_key_values(self, encoded_BMD):
        return {}

    def start(self, batch_size, length):
        return {}

    def decode_step(self, tokens_B1, past, cross, *, position, writers_BLP=None, encoder_segment_ids_BM=None):
        jax.debug.callback(lambda tokens: self.inputs.append(tokens.tolist()), tokens_B1[:, 0], ordered=True)
        return jax.nn.one_hot(self.script_BL[:, position], 9)[:, None], past

    def next_logits(self, hidden_BLD):
        return hidden_BLD


def run(script_BL, max_decode_length, **options):
    model = ScriptedModel(script_BL)
    tokens = jnp.ones((len(script_BL), 3), jnp.int32)
    lengths = {"max_decode_length": max_decode_length}
    decoded = jax.jit(lambda tokens: greedy(model, tokens, **lengths, **options))(tokens)
    decoded.block_until_ready()
    jax.effects_barrier()
    return decoded.tolist(), model.inputs


def test_a_row_ends_with_eos_then_padding_and_the_loop_stops_after_the_last_row():
    decoded, inputs = run([[5, 1, 7, 7, 7, 7], [4, 4, 4, 1, 8, 8]], 6)
    assert decoded == [[5, 1, 0, 0, 0, 0], [4, 4, 4, 1, 0, 0]]
    assert inputs == [[0, 0], [5, 4], [1, 4], [0, 4]]


def test_a_row_that_never_ends_is_cut_at_the_maximum():
    decoded, inputs = run([[5, 6, 7, 8], [1, 3, 3, 3]], 3)
    assert decoded == [[5, 6, 7], [1, 0, 0]]
    assert len(inputs) == 3


def test_any_of_several_ids_ends_a_row():
    script = [[5, 1, 7, 7], [4, 8, 4, 1], [3, 3, 3, 3]]
    assert run(script, 4, eos_id=(1, 8))[0] == [[5, 1, 0, 0], [4, 8, 0, 0], [3, 3, 3, 3]]
    assert run(script, 4, eos_id=())[0] == script


def test_what_stands_for_no_token_is_never_chosen():
    known_V = np.arange(9) < 8
    assert run([[5, 8, 7], [8, 1, 3]], 3, known_V=known_V)[0] == [[5, 0, 7], [0, 1, 0]]

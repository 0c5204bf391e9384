"""The decoder that every search is given: rows of its cache are only rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.decoding import AnsweringDecoder, ContinuingDecoder
from t5lite.decoding.cache import take
from t5lite.models.functional import build
from tests.families import FAMILIES, VOCAB_SIZE

pytestmark = pytest.mark.slow

NUM_STEPS = 6


@pytest.fixture(scope="module", params=["t5-1.1", "umt5", "t5gemma", "t5gemma2", "mistral"])
def started(request):
    """A decoder on ragged inputs, its start, and what it is fed: with the windows' rings filled twice."""
    config = dataclasses.replace(FAMILIES[request.param], max_length=24)
    model = build(config)
    params = jax.jit(model.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    tokens_BM = jnp.asarray(rng.integers(2, VOCAB_SIZE, (4, 7)), jnp.int32)
    lengths_B = jnp.array([7, 2, 4, 1])
    answers = config.architecture == "encoder_decoder"
    marks = (jnp.arange(7)[None] < lengths_B[:, None]).astype(jnp.int32) if answers else 7 - lengths_B
    decoder = (AnsweringDecoder if answers else ContinuingDecoder)(model.bind(params), NUM_STEPS)
    fed_BL = jnp.asarray(rng.integers(2, VOCAB_SIZE, (4, NUM_STEPS)), jnp.int32)
    return decoder, jax.jit(decoder.start)(tokens_BM, marks), fed_BL


def test_rows_of_a_cache_are_only_rows(started):
    decoder, start, fed_BL = started

    @jax.jit
    def fed(cache, tokens_BL):
        def step(cache, token_B):
            return decoder.advance(cache, token_B)[::-1]

        cache, read_L = jax.lax.scan(step, cache, tokens_BL.T)
        return jnp.swapaxes(read_L.logits_RV, 0, 1), cache

    half = NUM_STEPS // 2
    twice = start.repeated(2)
    assert twice.tokens_BP.shape[0] == twice.first_B.shape[0] == 8
    fed_RL = jnp.concatenate([fed_BL, fed_BL[::-1]])
    _, cache = fed(twice.cache, fed_RL[:, :half])
    expected, _ = fed(cache, fed_RL[:, half:])
    rows_R = jnp.array([2, 0, 7, 3, 1, 1, 6, 5])
    found, _ = fed(take(cache, rows_R), fed_RL[rows_R, half:])
    np.testing.assert_allclose(found, expected[rows_R], atol=1e-5)


def test_texts_of_an_input_take_over_what_others_have(started):
    decoder, start, fed_BL = started
    inputs = jnp.repeat(jnp.arange(4), 3)
    branched, alone = start.branched(3, NUM_STEPS), take(start.cache, inputs)
    assert branched.tokens_BP.shape[0] == branched.first_B.shape[0] == 12
    assert {x.shape[0] for x in jax.tree.leaves(branched.cache) if x.ndim} == {4}  # inputs are held once
    advance, reorder = jax.jit(decoder.advance), jax.jit(decoder.reorder)
    cache = branched.cache
    rng = np.random.default_rng(1)
    for step in range(NUM_STEPS):
        tokens_R = fed_BL[rng.integers(0, 4, 12), step]
        found, cache = advance(cache, tokens_R)
        expected, alone = advance(alone, tokens_R)
        np.testing.assert_allclose(found.logits_RV, expected.logits_RV, atol=1e-5)
        parents_BL = jnp.asarray(rng.integers(0, 3, (4, 3)))
        cache = reorder(cache, parents_BL)
        alone = take(alone, (3 * jnp.arange(4)[:, None] + parents_BL).reshape(-1))

"""Processors and filters of scores are transformers' own, on random scores and histories."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.generation import logits_process as theirs

from t5lite.decoding import Sampling
from t5lite.decoding.processors import (
    ForcedToken,
    History,
    MinNewTokens,
    NoRepeatNGram,
    RepetitionPenalty,
    SuppressTokens,
)

ROWS, VOCAB, FILLED, LENGTH, PROMPT = 16, 11, 9, 14, 4
EOS = torch.tensor([1, 3])


def _history(seed: int, num_padded: int = 0) -> History:
    tokens_BL = np.random.default_rng(seed).integers(0, VOCAB, (ROWS, LENGTH))
    first_B = np.full(ROWS, num_padded)
    tokens_BL[:, :num_padded] = 0
    return History(
        jnp.asarray(tokens_BL), jnp.asarray(first_B), jnp.int32(FILLED), jnp.int32(FILLED - PROMPT)
    )


def _scores(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, VOCAB)).astype(np.float32) * 3


PROCESSORS = {
    "repetition penalty": (
        RepetitionPenalty(penalty=1.7),
        theirs.RepetitionPenaltyLogitsProcessor(1.7),
    ),
    **{
        f"no repeat of {size}": (NoRepeatNGram(size=size), theirs.NoRepeatNGramLogitsProcessor(size))
        for size in (1, 2, 3, 12)
    },
    **{
        f"at least {number}": (
            MinNewTokens(num_tokens=number, eos_ids=(1, 3)),
            theirs.MinNewTokensLengthLogitsProcessor(PROMPT, number, EOS),
        )
        for number in (FILLED - PROMPT, FILLED - PROMPT + 1)
    },
    "first token": (ForcedToken(token=5, index=0), theirs.ForcedBOSTokenLogitsProcessor(5)),
    "last token": (
        ForcedToken(token=5, index=FILLED - PROMPT),
        theirs.ForcedEOSTokenLogitsProcessor(FILLED + 1, 5),
    ),
    "suppressed": (SuppressTokens(tokens=(2, 10)), theirs.SuppressTokensLogitsProcessor([2, 10])),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_is_that_of_transformers(name):
    ours, other = PROCESSORS[name]
    history, scores_BV = _history(0), _scores(1)
    input_ids = torch.from_numpy(np.array(history.tokens_BL[:, :FILLED])).long()
    expected = other(input_ids, torch.from_numpy(scores_BV.copy())).numpy()
    np.testing.assert_allclose(ours(jnp.asarray(scores_BV), history), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "ours", [RepetitionPenalty(penalty=1.7), NoRepeatNGram(size=1), NoRepeatNGram(size=3)]
)
def test_padding_in_front_of_a_prompt_is_no_token_of_it(ours):
    padded, scores_BV = _history(2, num_padded=3), jnp.asarray(_scores(3))
    alone = History(padded.tokens_BL[:, 3:], padded.first_B - 3, padded.length - 3, padded.num_decoded)
    np.testing.assert_array_equal(ours(scores_BV, padded), ours(scores_BV, alone))
    short = padded._replace(first_B=jnp.full(ROWS, FILLED - 1))
    one = History(padded.tokens_BL[:, FILLED - 1 :], jnp.zeros(ROWS, int), jnp.int32(1), jnp.int32(1))
    np.testing.assert_array_equal(ours(scores_BV, short), ours(scores_BV, one))


WARPERS = {
    "temperature": ({"temperature": 0.3}, [theirs.TemperatureLogitsWarper(0.3)]),
    "top_k": ({"top_k": 4}, [theirs.TopKLogitsWarper(4)]),
    "top_k of more than there are": ({"top_k": 40}, [theirs.TopKLogitsWarper(40)]),
    "top_p": ({"top_p": 0.6}, [theirs.TopPLogitsWarper(0.6)]),
    "top_p of one token": ({"top_p": 1e-6}, [theirs.TopPLogitsWarper(1e-6)]),
    "min_p": ({"min_p": 0.2}, [theirs.MinPLogitsWarper(0.2)]),
    "typical_p": ({"typical_p": 0.5}, [theirs.TypicalLogitsWarper(0.5)]),
    "all": (
        {"temperature": 1.8, "top_k": 8, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.9},
        [
            theirs.TemperatureLogitsWarper(1.8),
            theirs.TopKLogitsWarper(8),
            theirs.TopPLogitsWarper(0.95),
            theirs.MinPLogitsWarper(0.02),
            theirs.TypicalLogitsWarper(0.9),
        ],
    ),
}


@pytest.mark.parametrize("name", WARPERS)
def test_what_is_drawn_among_is_that_of_transformers(name):
    options, others = WARPERS[name]
    scores_BV = _scores(4)
    scores_BV[:, 2] = -np.inf  # no token of the vocabulary
    scores_BV -= scores_BV.max(
        axis=1, keepdims=True
    )  # as ours are taken; what is drawn does not depend on it
    expected = torch.from_numpy(scores_BV.copy())
    for other in others:
        expected = other(None, expected)
    found = Sampling(**options).filtered(jnp.asarray(scores_BV))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
    assert np.isfinite(found).any(axis=1).all()

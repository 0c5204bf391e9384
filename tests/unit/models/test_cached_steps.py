"""Prompts at once and then token by token, against the whole sequence, for every kind of positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import POSITIONS, make_config
from tiny_models import make_params

from t5lite.models.functional import build

KINDS = {
    **POSITIONS,
    "palm": {"parallel_block": True, "num_kv_heads": 1},
}
PROMPT, TOTAL, ROOM = 4, 7, 9


@pytest.mark.parametrize("prefix_attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_prompt_and_steps_equal_the_whole_sequence(kind, prefix_attention):
    """Prompts of different lengths end at the same column, so padding stands in front of some."""
    options = {"prefix_attention": prefix_attention, **KINDS[kind]}
    model = build(make_config("decoder_only", **options))
    tokens_BL = jnp.asarray(np.random.default_rng(0).integers(2, 40, (3, TOTAL)), jnp.int32)
    first_B = jnp.asarray([0, 2, 3], jnp.int32)

    @jax.jit
    def run(params):
        bound = model.bind(params)
        ids_BL = (jnp.arange(TOTAL)[None, :] >= first_B[:, None]).astype(jnp.int32)
        given_BL = ids_BL * (jnp.arange(TOTAL)[None, :] < PROMPT)
        whole = bound(
            {
                "decoder_input_tokens": tokens_BL,
                "decoder_segment_ids": ids_BL,
                "decoder_bidirectional": given_BL,
            }
        )
        hidden_BLD, past = bound.prefill(tokens_BL[:, :PROMPT], first_B=first_B, num_more=ROOM - PROMPT)
        steps = [hidden_BLD[:, -1]]
        for position in range(PROMPT, TOTAL):
            hidden_BLD, past = bound.decode_step(
                tokens_BL[:, position : position + 1], past, position=jnp.asarray(position), first_B=first_B
            )
            steps.append(hidden_BLD[:, 0])
        return whole[:, PROMPT - 1 :], bound.next_logits(jnp.stack(steps, axis=1))

    whole, steps = run(make_params(model))
    assert whole.std() > 0.3
    np.testing.assert_allclose(steps, whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "chunk_sizes"),
    [
        ("windows", (4,)),
        pytest.param("windows", (1, 9), marks=pytest.mark.slow),
        *(pytest.param(kind, (4,), marks=pytest.mark.slow) for kind in KINDS if kind != "windows"),
    ],
)
def test_prompts_in_chunks_equal_whole_prompts(kind, chunk_sizes):
    """The last prompt is of one token; of nine columns, chunks are parts, the whole, and no divisors."""
    model = build(make_config("decoder_only", **KINDS[kind]))
    tokens_BL = jnp.asarray(np.random.default_rng(0).integers(2, 40, (3, 10)), jnp.int32)
    first_B = jnp.asarray([0, 5, 8], jnp.int32)

    @jax.jit
    def run(params):
        bound = model.bind(params)

        def read(chunk_size):
            hidden_BLD, past = bound.prefill(
                tokens_BL[:, :9], first_B=first_B, num_more=3, chunk_size=chunk_size
            )
            next_BLD, _ = bound.decode_step(tokens_BL[:, 9:], past, position=jnp.asarray(9), first_B=first_B)
            return hidden_BLD, next_BLD

        return read(None), [read(chunk_size) for chunk_size in chunk_sizes]

    (whole_BLD, whole_next), chunked = run(make_params(model))
    is_token_BL = np.arange(9)[None] >= first_B[:, None]
    for hidden_BLD, next_BLD in chunked:
        np.testing.assert_allclose(hidden_BLD[is_token_BL], whole_BLD[is_token_BL], rtol=0, atol=2e-5)
        np.testing.assert_allclose(next_BLD, whole_next, rtol=0, atol=2e-5)

"""Greedy search of decoder-only models equals running the whole sequence anew for every token."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.decoding import greedy_continuation
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    Execution,
    GatedMLP,
    LayerNorm,
    LearnedPositions,
    PlainMLP,
    RelativePositions,
    RotaryPositions,
)
from t5lite.models.functional import build

PROMPT, NEW, EOS = 6, 8, 5
LENGTHS = np.array([6, 1, 3, 4, 2, 5])
GPT = {
    "positions": LearnedPositions(),
    "norm": LayerNorm(),
    "attention": AttentionConfig(scaled=True, biases="all"),
    "tie_embeddings": True,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "learned": {**GPT, "mlp": PlainMLP(activation="gelu_tanh", bias=True)},
    "learned, post-norm, narrow table": {
        **GPT,
        "mlp": PlainMLP(bias=True),
        "norm_placement": "post",
        "table_dim": 8,
        "positions": LearnedPositions(offset=2),
    },
    "rotary, grouped heads": {"num_kv_heads": 2},
    "rotary, parallel, one head": {
        "num_kv_heads": 1,
        "parallel_block": True,
        "execution": Execution(scan_unroll=-1),
    },
    "relative": {"positions": RelativePositions(num_buckets=8, max_distance=20), "mlp": GatedMLP()},
    "a window of 3 in every second layer": {
        "positions": RotaryPositions(local_base=100.0),
        "attention": AttentionConfig(scaled=True, windows=(3, None)),
        "num_layers": 3,
    },
}


def make_model(seed: int, execution: Execution | None = None, **changes: Any):
    fields: dict[str, Any] = {
        "vocab_size": 12,
        "embed_dim": 16,
        "mlp_dim": 24,
        "head_dim": 4,
        "num_heads": 4,
        "num_layers": 2,
        "max_length": PROMPT + NEW - 1,
    }
    model = build(DecoderOnlyConfig(**{**fields, **changes}), execution)
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        # Large biases would drown what the tokens say.
        mean, std = (1.0, 0.2) if name.endswith("scale") else (0.0, 0.1 if name.endswith("bias") else 0.7)
        return jnp.asarray(mean + std * rng.standard_normal(leaf.shape), leaf.dtype)

    return model, jax.tree_util.tree_map_with_path(draw, model.abstract_params)


def uncached(model, params, prompts: list[list[int]]) -> np.ndarray:
    """Each prompt with all that was found, without padding in front, through the whole model."""
    logits = jax.jit(lambda params, tokens_BL: model.bind(params)({"decoder_input_tokens": tokens_BL}))
    rows, width = np.arange(len(prompts)), PROMPT + NEW - 1
    tokens = np.zeros((len(prompts), width + 1), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    found = np.zeros((len(prompts), NEW), np.int32)
    ended = np.zeros(len(prompts), bool)
    for step in range(NEW):
        last = LENGTHS - 1 + step
        best = np.argmax(np.asarray(logits(params, tokens[:, :width]))[rows, last], axis=-1)
        found[:, step] = np.where(ended, 0, best)
        tokens[rows, last + 1] = found[:, step]
        ended |= found[:, step] == EOS
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_uncached_argmax_token_for_token(variant):
    model, params = make_model(1, **VARIANTS[variant])
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, 12, length).tolist() for length in LENGTHS]
    padded = np.stack([np.pad(prompt, (PROMPT - len(prompt), 0), constant_values=9) for prompt in prompts])
    decode = jax.jit(
        lambda params, tokens, first: greedy_continuation(
            model.bind(params), tokens, first_B=first, max_decode_length=NEW, eos_id=EOS
        )
    )
    first = jnp.asarray(PROMPT - LENGTHS, jnp.int32)
    got = np.asarray(decode(params, jnp.asarray(padded, jnp.int32), first))
    expected = uncached(model, params, prompts)
    np.testing.assert_array_equal(got, expected)
    assert len({row.tobytes() for row in expected}) > 3


def test_a_row_is_cut_at_its_first_eos_even_if_that_is_the_first_token():
    model, params = make_model(1, num_kv_heads=2)
    prompts = jnp.asarray(np.random.default_rng(0).integers(1, 12, (3, PROMPT)), jnp.int32)

    def decode(eos_id):
        return greedy_continuation(
            model.bind(params), prompts, first_B=jnp.zeros(3, jnp.int32), max_decode_length=4, eos_id=eos_id
        ).tolist()

    endless = decode(None)
    first, second = endless[0][0], endless[1][1]
    for eos_id in (first, second, (first, second)):
        ids = eos_id if isinstance(eos_id, tuple) else (eos_id,)
        ends = [min([row.index(i) + 1 for i in ids if i in row], default=4) for row in endless]
        assert decode(eos_id) == [row[:end] + [0] * (4 - end) for row, end in zip(endless, ends, strict=True)]


def test_what_stands_for_no_token_is_never_chosen():
    model, params = make_model(1, num_kv_heads=2)
    prompts = jnp.asarray(np.random.default_rng(0).integers(1, 12, (3, PROMPT)), jnp.int32)

    def decode(known_V):
        return np.asarray(
            greedy_continuation(
                model.bind(params),
                prompts,
                first_B=jnp.zeros(3, jnp.int32),
                max_decode_length=4,
                eos_id=None,
                known_V=known_V,
            )
        )

    free = decode(None)
    known_V = np.ones(12, bool)
    known_V[free[:, 0]] = False
    found = decode(known_V)
    assert known_V[found].all()
    # The first tokens are the best of the known ones.
    logits = model.bind(params)({"decoder_input_tokens": prompts})[:, -1]
    np.testing.assert_array_equal(found[:, 0], np.where(known_V, logits, -np.inf).argmax(-1))


def test_what_a_learned_table_cannot_hold_is_refused_before_work():
    model, params = make_model(0, **VARIANTS["learned"])
    with pytest.raises(ConfigError, match=r"14 tokens is longer than the 13 rows"):
        greedy_continuation(
            model.bind(params),
            jnp.ones((1, PROMPT), jnp.int32),
            first_B=jnp.zeros(1, jnp.int32),
            max_decode_length=NEW + 1,
            eos_id=None,
        )

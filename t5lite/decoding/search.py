"""The loop of every search: read inputs, then choose and advance until nothing is left to write."""

from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from t5lite.decoding.cache import Read
from t5lite.decoding.decoder import Decoder
from t5lite.decoding.strategies import Search, SearchState, Strategy, Written

StateT = TypeVar("StateT", bound=SearchState)


def run_search(
    decoder: Decoder[Any],
    tokens_BM: jax.Array,
    marks: jax.Array | None,
    *,
    strategy: Strategy[Any],
    search: Search,
    indices_B: jax.Array | None = None,
) -> Written:
    """Return what a model writes for inputs; traceable.

    Args:
      decoder: the model, which knows ``search.max_decode_length``.
      tokens_BM: int32 inputs, as the decoder takes them.
      marks: what tells their padding apart, as the decoder takes it.
      strategy: how tokens are chosen.
      search: the rest.
      indices_B: int32, which inputs they are, of all: what is drawn depends on them and not on the batch.
        None: 0, 1, ...

    Raises:
      ConfigError: if the model has no positions for as much.
    """
    state = begin(decoder, tokens_BM, marks, indices_B, strategy=strategy, search=search)
    return strategy.written(resume(decoder, state, strategy=strategy, search=search), search)


def begin(
    decoder: Decoder[Any],
    tokens_BM: jax.Array,
    marks: jax.Array | None,
    indices_B: jax.Array | None,
    *,
    strategy: Strategy[StateT],
    search: Search,
) -> StateT:
    """Read inputs; the first token is written if reading them has its logits."""
    decoder = replace(decoder, max_decode_length=decoder.max_decode_length + strategy.num_ahead)
    start = strategy.rows(decoder.start(tokens_BM, marks), search)
    state = strategy.begin(start, indices_B, search)
    if start.read is None:
        return state
    return strategy.choose(decoder, state, _of_tokens(start.read, search), search)


def resume(
    decoder: Decoder[Any],
    state: StateT,
    *,
    strategy: Strategy[StateT],
    search: Search,
    most: jax.Array | int | None = None,
) -> StateT:
    """Write on until all rows have ended or are full, or have ``most`` tokens."""
    most = search.max_decode_length if most is None else jnp.minimum(most, search.max_decode_length)

    def unfinished(state: StateT) -> jax.Array:
        return (state.num_decoded < most) & strategy.unfinished(state)

    def step(state: StateT) -> StateT:
        read, cache = decoder.advance(state.cache, state.previous_R)
        return strategy.choose(decoder, state._replace(cache=cache), _of_tokens(read, search), search)

    return jax.lax.while_loop(unfinished, step, state)


def _of_tokens(read: Read, search: Search) -> Read:
    """Return the same without the rows of the table that stand for no token."""
    return read._replace(logits_RV=search.known(read.logits_RV))

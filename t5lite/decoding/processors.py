"""What may be written next, and how readily: small functions of scores and a history.

Each is transformers' ``LogitsProcessor`` of the same name. Scores are logits, or the log probabilities that a
beam search adds up; minus infinity is never chosen.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp


class History(NamedTuple):
    """What stands in front of the next token."""

    tokens_BL: jax.Array
    """int32: a prompt after its padding, or the start token; then what is written, and room."""
    first_B: jax.Array
    """Column of each row's first token."""
    length: jax.Array
    """int32 scalar: columns that are filled."""
    num_decoded: jax.Array
    """int32 scalar: how many of them are written."""

    @property
    def is_token_BL(self) -> jax.Array:
        """Where there is a token, neither padding in front nor room behind."""
        columns_1L = jnp.arange(self.tokens_BL.shape[1])[None]
        return (columns_1L >= self.first_B[:, None]) & (columns_1L < self.length)


class Processor(ABC):
    """A frozen dataclass of options."""

    @abstractmethod
    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return the scores of the next token, processed."""


@dataclass(frozen=True, kw_only=True)
class RepetitionPenalty(Processor):
    """What is there already is less probable: scores are divided by ``penalty``, negative ones multiplied."""

    penalty: float

    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return scores with the penalty on every token of the history."""
        penalized_BV = jnp.where(scores_BV < 0, scores_BV * self.penalty, scores_BV / self.penalty)
        seen_BV = _marked(history.tokens_BL, history.is_token_BL, scores_BV.shape[1])
        return jnp.where(seen_BV, penalized_BV, scores_BV)


@dataclass(frozen=True, kw_only=True)
class NoRepeatNGram(Processor):
    """No sequence of ``size`` tokens is there twice."""

    size: int

    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return scores without those tokens that would complete a sequence that is there."""
        tokens_BL, is_token_BL = history.tokens_BL, history.is_token_BL
        length, context = tokens_BL.shape[1], self.size - 1
        if length <= context:
            return scores_BV
        # The window of ``context`` tokens before each column, compared with the last ones.
        last_BC = jax.lax.dynamic_slice_in_dim(
            tokens_BL, jnp.maximum(history.length - context, 0), context, axis=1
        )
        ended_BL = is_token_BL[:, context:] & is_token_BL[:, : length - context]
        for place in range(context):
            ended_BL &= tokens_BL[:, place : length - context + place] == last_BC[:, place : place + 1]
        banned_BV = _marked(tokens_BL[:, context:], ended_BL, scores_BV.shape[1])
        # A row that is shorter than a context has no sequence that could be completed.
        enough_B1 = (history.length - history.first_B >= context)[:, None]
        return jnp.where(banned_BV & enough_B1, -jnp.inf, scores_BV)


@dataclass(frozen=True, kw_only=True)
class MinNewTokens(Processor):
    """A text does not end before it has so many tokens, EOS aside."""

    num_tokens: int
    eos_ids: tuple[int, ...]

    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return scores without what ends a text, while it is too short."""
        ended_BV = jnp.where(_is_one_of(self.eos_ids, scores_BV), -jnp.inf, scores_BV)
        return jnp.where(history.num_decoded < self.num_tokens, ended_BV, scores_BV)


@dataclass(frozen=True, kw_only=True)
class ForcedToken(Processor):
    """Token number ``index`` of what is written is this one."""

    token: int
    index: int

    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return 0 for the token and minus infinity for all others, at its place."""
        forced_1V = jnp.where(jnp.arange(scores_BV.shape[1])[None] == self.token, 0.0, -jnp.inf)
        return jnp.where(history.num_decoded == self.index, forced_1V, scores_BV)


@dataclass(frozen=True, kw_only=True)
class SuppressTokens(Processor):
    """These tokens are never written."""

    tokens: tuple[int, ...]

    def __call__(self, scores_BV: jax.Array, history: History) -> jax.Array:
        """Return scores without them."""
        del history
        return jnp.where(_is_one_of(self.tokens, scores_BV), -jnp.inf, scores_BV)


def _is_one_of(tokens: tuple[int, ...], scores_BV: jax.Array) -> jax.Array:
    ids_1V = jnp.arange(scores_BV.shape[1])[None]
    return jnp.isin(ids_1V, jnp.asarray(tokens, jnp.int32))


def _marked(tokens_BL: jax.Array, where_BL: jax.Array, num_tokens: int) -> jax.Array:
    """Return bool ``[B, V]``: which tokens are anywhere where it says so."""
    rows_B1 = jnp.arange(tokens_BL.shape[0])[:, None]
    marked_BV = jnp.zeros((tokens_BL.shape[0], num_tokens), bool)
    # An id beyond the table falls outside of the array, which drops it.
    return marked_BV.at[rows_B1, jnp.where(where_BL, tokens_BL, num_tokens)].set(True, mode="drop")

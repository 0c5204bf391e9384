"""Strategies that choose each row's token from its own logits alone."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.types import PAD_ID
from t5lite.decoding.cache import DecodingCache, Read
from t5lite.decoding.decoder import Decoder, Start
from t5lite.decoding.strategies.base import Prefix, Search, Strategy, Written


class TokenwiseState(NamedTuple):
    """Of rows that know nothing of one another."""

    cache: DecodingCache
    num_decoded: jax.Array
    previous_R: jax.Array
    decoded_RL: jax.Array
    ended_R: jax.Array
    prefix: Prefix | None
    log_probs_RL: jax.Array | None
    keys_R: jax.Array | None
    """Of a strategy that draws: of the row, not yet of the step."""


@dataclass(frozen=True, kw_only=True)
class Tokenwise(Strategy[TokenwiseState]):
    """A row ends with EOS, which is part of it, and continues with padding; the search ends with all rows."""

    ends_rows: ClassVar[bool] = True

    @abstractmethod
    def pick(self, logits_RV: jax.Array, state: TokenwiseState) -> jax.Array:
        """Return the next token of each row, int32, of those whose logit is finite."""

    def keys(self, indices_B: jax.Array | None, num_rows: int) -> jax.Array | None:
        """Return a random key a row; None of a strategy that does not draw."""
        del indices_B, num_rows
        return None

    def begin(self, start: Start, indices_B: jax.Array | None, search: Search) -> TokenwiseState:
        """Return rows without a token."""
        num_rows = start.tokens_BP.shape[0]
        shape = (num_rows, search.max_decode_length)
        return TokenwiseState(
            start.cache,
            num_decoded=jnp.zeros((), jnp.int32),
            previous_R=start.tokens_BP[:, -1],
            decoded_RL=jnp.full(shape, PAD_ID, jnp.int32),
            ended_R=jnp.zeros((num_rows,), bool),
            prefix=search.prefix(start),
            log_probs_RL=jnp.zeros(shape, jnp.float32) if search.log_probs else None,
            keys_R=self.keys(indices_B, num_rows),
        )

    def choose(
        self, decoder: Decoder[Any], state: TokenwiseState, read: Read, search: Search
    ) -> TokenwiseState:
        """Write what is picked, or padding where a row has ended."""
        del decoder
        logits_RV = read.logits_RV
        allowed_RV = search.processed(logits_RV, state.prefix, state.decoded_RL, state.num_decoded)
        token_R = jnp.where(state.ended_R, PAD_ID, self.pick(allowed_RV, state))
        log_probs_RL = state.log_probs_RL
        if log_probs_RL is not None:
            log_prob_R = _taken(jax.nn.log_softmax(logits_RV), token_R)
            log_probs_RL = _with_column(
                log_probs_RL, jnp.where(state.ended_R, 0.0, log_prob_R), state.num_decoded
            )
        return state._replace(
            num_decoded=state.num_decoded + 1,
            previous_R=token_R,
            decoded_RL=_with_column(state.decoded_RL, token_R, state.num_decoded),
            # Padding may be a token of its own, even EOS: an ended row stays ended.
            ended_R=state.ended_R | search.ends(token_R),
            log_probs_RL=log_probs_RL,
        )

    def ended(self, state: TokenwiseState, ended_R: jax.Array) -> TokenwiseState:
        """Return the state in which those rows have ended, too."""
        return state._replace(ended_R=state.ended_R | ended_R)

    def unfinished(self, state: TokenwiseState) -> jax.Array:
        """Return whether any row goes on."""
        return ~jnp.all(state.ended_R)

    def written(self, state: TokenwiseState, search: Search) -> Written:
        """Return the rows."""
        del search
        return Written(state.decoded_RL, state.log_probs_RL)


def _with_column(x_RL: jax.Array, column_R: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_RL, column_R[:, None], index, axis=1)


def _taken(x_RV: jax.Array, token_R: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x_RV, token_R[:, None], axis=1)[:, 0]

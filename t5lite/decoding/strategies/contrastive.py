"""Of the most probable tokens, the one that least repeats what is there."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.cpu.top_k import top_k
from t5lite.decoding.cache import DecodingCache, Read
from t5lite.decoding.decoder import Decoder, Start
from t5lite.decoding.strategies.base import Prefix, Search, Strategy, Written


class ContrastiveState(NamedTuple):
    """Of B inputs with K candidates each: what the model reads before one of them is chosen."""

    cache: DecodingCache
    """Branched: all candidates of an input have the same text before them."""
    num_chosen: jax.Array
    """int32 scalar: of what is read; the first is the token in front of the text."""
    previous_R: jax.Array
    probabilities_BK: jax.Array
    """Of the candidates, as processors have them; minus infinity at what is not to be chosen."""
    log_probs_BK: jax.Array | None
    """The model's own."""
    context_BPD: jax.Array
    """Hidden states of prompt and text, of length 1."""
    first_B: jax.Array
    chosen_BL: jax.Array
    """The token in front of the text, and the text."""
    chosen_log_probs_BL: jax.Array | None
    ended_B: jax.Array
    prefix: Prefix | None

    @property
    def num_decoded(self) -> jax.Array:
        """int32 scalar: tokens of each text so far."""
        return jnp.maximum(self.num_chosen - 1, 0)


@dataclass(frozen=True, kw_only=True)
class Contrastive(Strategy[ContrastiveState]):
    """Contrastive search (Su et al., 2022), with the options that transformers had for it.

    The model reads each of the ``top_k`` most probable tokens. The one is written that is greatest by
    (1 - ``penalty_alpha``) times its probability, less ``penalty_alpha`` times the greatest cosine of its
    hidden state with one before it: of prompt and text, or of an encoder-decoder's text and start token.
    Hidden states are those that logits are made of, before the projection to a narrower table, behind which
    transformers' last ones are. What may not be written is no candidate, where transformers took it for one
    without probability.

    Raises:
      ConfigError: for a value out of range.
    """

    name: ClassVar[str] = "contrastive"
    ends_rows: ClassVar[bool] = True
    num_ahead: ClassVar[int] = 1

    top_k: int = 4
    """Candidates, the most probable tokens."""
    penalty_alpha: float = 0.6
    """From 0, where the most probable token is written, to 1, where probability only makes the candidates."""

    def __post_init__(self):
        if self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k} must be 1 or more")
        if not 0 <= self.penalty_alpha <= 1:
            raise ConfigError(
                f"penalty_alpha={self.penalty_alpha} must be from 0, which is greedy search, to 1"
            )

    def rows(self, start: Start, search: Search) -> Start:
        """Return a row for each candidate."""
        return start.branched(self.top_k, search.max_decode_length + self.num_ahead)

    def begin(self, start: Start, indices_B: jax.Array | None, search: Search) -> ContrastiveState:
        """Return texts without a token, whose candidates are what stands in front of them, K times."""
        del indices_B
        of_inputs = slice(None, None, self.top_k)
        first_B, length = start.first_B[of_inputs], search.max_decode_length + 1
        by_input = (len(first_B), self.top_k)
        room = (len(first_B), length)
        hidden_BPD = _unit(start.hidden_BPD)
        return ContrastiveState(
            start.cache,
            num_chosen=jnp.zeros((), jnp.int32),
            previous_R=start.tokens_BP[:, -1],
            probabilities_BK=jnp.zeros(by_input),
            log_probs_BK=jnp.zeros(by_input) if search.log_probs else None,
            context_BPD=jnp.pad(hidden_BPD, ((0, 0), (0, length - 1), (0, 0))),
            first_B=first_B,
            chosen_BL=jnp.full(room, PAD_ID, jnp.int32),
            chosen_log_probs_BL=jnp.zeros(room) if search.log_probs else None,
            ended_B=jnp.zeros((len(first_B),), bool),
            prefix=jax.tree.map(lambda x: x[of_inputs], search.prefix(start)),
        )

    def choose(
        self, decoder: Decoder[Any], state: ContrastiveState, read: Read, search: Search
    ) -> ContrastiveState:
        """Choose among the candidates that were read, and find those that may follow."""
        logits_BKV, hidden_BKD, tokens_BK = (
            x_R.reshape(-1, self.top_k, *x_R.shape[1:])
            for x_R in (read.logits_RV, _unit(read.hidden_RD), state.previous_R)
        )
        chosen_B = self._best(state, hidden_BKD)
        token_B = jnp.where(state.ended_B, PAD_ID, _at(tokens_BK, chosen_B))
        log_probs_BL = state.chosen_log_probs_BL
        if log_probs_BL is not None:
            assert state.log_probs_BK is not None
            log_prob_B = jnp.where(state.ended_B, 0.0, _at(state.log_probs_BK, chosen_B))
            log_probs_BL = _with_column(log_probs_BL, log_prob_B, state.num_chosen)
        state = state._replace(
            cache=decoder.reorder(state.cache, jnp.broadcast_to(chosen_B[:, None], tokens_BK.shape)),
            num_chosen=state.num_chosen + 1,
            context_BPD=_with_column(state.context_BPD, _at(hidden_BKD, chosen_B), self._place(state)),
            chosen_BL=_with_column(state.chosen_BL, token_B, state.num_chosen),
            chosen_log_probs_BL=log_probs_BL,
            # What stands in front of a text may be an EOS.
            ended_B=state.ended_B | (search.ends(token_B) & (state.num_chosen > 0)),
        )
        return self._with_candidates(state, _at(logits_BKV, chosen_B), search)

    def ended(self, state: ContrastiveState, ended_R: jax.Array) -> ContrastiveState:
        """Return the state in which those texts have ended, too."""
        return state._replace(ended_B=state.ended_B | ended_R)

    def unfinished(self, state: ContrastiveState) -> jax.Array:
        """Return whether any text goes on."""
        return ~jnp.all(state.ended_B)

    def written(self, state: ContrastiveState, search: Search) -> Written:
        """Return the texts."""
        del search
        log_probs_BL = state.chosen_log_probs_BL
        return Written(state.chosen_BL[:, 1:], None if log_probs_BL is None else log_probs_BL[:, 1:])

    def _best(self, state: ContrastiveState, hidden_BKD: jax.Array) -> jax.Array:
        """Return which candidate of each input is written."""
        places_P = jnp.arange(state.context_BPD.shape[1])[None]
        before_BP = (places_P >= state.first_B[:, None]) & (places_P < self._place(state))
        cosines_BKP = jnp.einsum("BKD,BPD->BKP", hidden_BKD, state.context_BPD, precision="highest")
        penalty_BK = jnp.max(jnp.where(before_BP[:, None], cosines_BKP, -1.0), axis=2)
        alpha, probabilities_BK = self.penalty_alpha, state.probabilities_BK
        scores_BK = (1 - alpha) * jnp.maximum(probabilities_BK, 0) - alpha * penalty_BK
        return jnp.argmax(jnp.where(probabilities_BK == -jnp.inf, -jnp.inf, scores_BK), axis=1)

    def _place(self, state: ContrastiveState) -> jax.Array:
        """Return where in the context the candidates are."""
        return state.context_BPD.shape[1] - state.chosen_BL.shape[1] + state.num_chosen

    def _with_candidates(
        self, state: ContrastiveState, logits_BV: jax.Array, search: Search
    ) -> ContrastiveState:
        scores_BV = search.processed(logits_BV, state.prefix, state.chosen_BL[:, 1:], state.num_decoded)
        # Of a small vocabulary, some are no token.
        missing = max(self.top_k - scores_BV.shape[1], 0)
        padded_BV = jnp.pad(scores_BV, ((0, 0), (0, missing)), constant_values=-jnp.inf)
        scores_BK, tokens_BK = top_k(padded_BV, self.top_k)
        tokens_BK = jnp.minimum(tokens_BK, scores_BV.shape[1] - 1)
        probabilities_BK = jnp.exp(scores_BK - jax.nn.logsumexp(scores_BV, axis=1, keepdims=True))
        log_probs_BK = None
        if search.log_probs:
            log_probs_BK = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), tokens_BK, axis=1)
        return state._replace(
            previous_R=tokens_BK.reshape(-1),
            probabilities_BK=jnp.where(scores_BK == -jnp.inf, -jnp.inf, probabilities_BK),
            log_probs_BK=log_probs_BK,
        )


def _unit(hidden: jax.Array) -> jax.Array:
    """Return float32 hidden states divided by their length."""
    hidden = hidden.astype(jnp.float32)
    length = jnp.linalg.norm(hidden, axis=-1, keepdims=True)
    return hidden / jnp.maximum(length, jnp.finfo(jnp.float32).tiny)


def _at(x_BK: jax.Array, chosen_B: jax.Array) -> jax.Array:
    """Return ``[B, ...]``: of each input what its candidate has."""
    return x_BK[jnp.arange(len(x_BK)), chosen_B]


def _with_column(x_BL: jax.Array, column_B: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_BL, column_B[:, None], index, axis=1)

"""The beam search that conventions vary: which texts are finished, how they are compared, when it is over."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.decoding.cache import DecodingCache
from t5lite.decoding.decoder import Decoder, Start
from t5lite.decoding.strategies.base import Prefix, Search, Strategy, Written, ids_of_eos


class Beams(NamedTuple):
    """Texts of each input, K or more, the best first."""

    scores_BK: jax.Array
    """Summed log probabilities of texts that go on, of finished ones what they are compared by; minus
    infinity where there is no text."""
    tokens_BKL: jax.Array
    log_probs_BKL: jax.Array | None
    """The model's own, of each token."""

    def taken(self, places_BN: jax.Array) -> "Beams":
        """Return those at the given places."""
        return jax.tree.map(lambda x: _take(x, places_BN), self)

    def best(self, num_beams: int) -> tuple["Beams", jax.Array]:
        """Return the best, and their places."""
        places_BK = jax.lax.top_k(self.scores_BK, num_beams)[1]
        return self.taken(places_BK), places_BK

    def beside(self, other: "Beams") -> "Beams":
        """Return these and then those."""
        return jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), self, other)


class BeamState(NamedTuple):
    """Of B inputs with K beams each, B * K rows."""

    cache: DecodingCache
    num_decoded: jax.Array
    previous_R: jax.Array
    running: Beams
    finished: Beams
    open_B: jax.Array
    """Whether an input's finished texts may still change."""
    prefix: Prefix | None


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Strategy[BeamState]):
    """Keep the ``num_beams`` most probable texts of each input at every step.

    Raises:
      ConfigError: for a value out of range.
    """

    num_beams: int = 4
    """Texts that are followed at once."""
    num_return_sequences: int = 1
    """Texts that are returned for an input, the best first."""

    def __post_init__(self):
        if self.num_beams < 1:
            raise ConfigError(f"num_beams={self.num_beams} must be 1 or more")
        if not 1 <= self.num_return_sequences <= self.num_beams:
            raise ConfigError(
                f"num_return_sequences={self.num_return_sequences} must be from 1 to "
                f"num_beams={self.num_beams}"
            )

    @property
    def num_sequences(self) -> int:
        """Texts that are returned for an input."""
        return self.num_return_sequences

    def rows(self, start: Start, search: Search) -> Start:
        """Return a row for each beam."""
        return start.branched(self.num_beams, search.max_decode_length)

    @abstractmethod
    def normalized(self, scores: jax.Array, length: jax.Array | int) -> jax.Array:
        """Return what finished texts of this length are compared by, given summed log probabilities."""

    @abstractmethod
    def can_improve(self, state: BeamState, max_decode_length: int) -> jax.Array:
        """Return of each input whether a text that goes on could be better than a finished one."""

    @abstractmethod
    def finishing(self, ended_BN: jax.Array, *, is_full: jax.Array) -> jax.Array:
        """Return which candidates, the best first, become finished texts.

        Args:
          ended_BN: those that ended with EOS.
          is_full: whether all have the greatest length.
        """

    def begin(self, start: Start, indices_B: jax.Array | None, search: Search) -> BeamState:
        """Return one empty text an input; the other beams have none yet."""
        del indices_B
        shape = (start.tokens_BP.shape[0] // self.num_beams, self.num_beams)
        room = (*shape, search.max_decode_length)
        none = Beams(
            jnp.full(shape, -jnp.inf),
            jnp.full(room, PAD_ID, jnp.int32),
            jnp.zeros(room) if search.log_probs else None,
        )
        return BeamState(
            start.cache,
            num_decoded=jnp.zeros((), jnp.int32),
            previous_R=start.tokens_BP[:, -1],
            running=none._replace(scores_BK=none.scores_BK.at[:, 0].set(0.0)),
            finished=none,
            open_B=jnp.ones((shape[0],), bool),
            prefix=search.prefix(start),
        )

    def choose(
        self, decoder: Decoder[Any], state: BeamState, logits_RV: jax.Array, search: Search
    ) -> BeamState:
        """Take the best of all continuations: those that end apart, the best of the others to go on."""
        num_decoded = state.num_decoded + 1
        candidates, parents_BN, tokens_BN = self._candidates(state, logits_RV, search)
        ended_BN = search.ends(tokens_BN)
        is_full = num_decoded >= search.max_decode_length
        finishing_BN = self.finishing(ended_BN, is_full=is_full) & state.open_B[:, None]
        compared_BN = self.normalized(candidates.scores_BK, num_decoded)
        finished, _ = state.finished.beside(
            candidates._replace(scores_BK=jnp.where(finishing_BN, compared_BN, -jnp.inf))
        ).best(self.num_beams)
        running, places_BK = candidates._replace(
            scores_BK=jnp.where(ended_BN, -jnp.inf, candidates.scores_BK)
        ).best(self.num_beams)
        state = state._replace(
            cache=decoder.reorder(state.cache, _take(parents_BN, places_BK)),
            num_decoded=num_decoded,
            previous_R=_take(tokens_BN, places_BK).reshape(-1),
            running=running,
            finished=finished,
        )
        return state._replace(open_B=state.open_B & self.can_improve(state, search.max_decode_length))

    def unfinished(self, state: BeamState) -> jax.Array:
        """Return whether the finished texts of any input may still change."""
        return jnp.any(state.open_B)

    def written(self, state: BeamState, search: Search) -> Written:
        """Return the best finished texts."""
        del search
        best = jax.tree.map(lambda x: x[:, : self.num_return_sequences], self.results(state))
        scores_R, tokens_RL, log_probs_RL = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), best)
        return Written(tokens_RL, log_probs_RL, scores_R)

    def results(self, state: BeamState) -> Beams:
        """Return what is returned."""
        return state.finished

    def _candidates(
        self, state: BeamState, logits_RV: jax.Array, search: Search
    ) -> tuple[Beams, jax.Array, jax.Array]:
        """Return the best continuations, each one's beam, and its token.

        They are so many that enough of them go on, even if as many end as there are ways to end.
        """
        running = state.running
        (batch_size, num_beams, length), vocab_size = running.tokens_BKL.shape, logits_RV.shape[1]
        log_probs_RV = jax.nn.log_softmax(logits_RV)
        scores_RV = search.processed(
            log_probs_RV, state.prefix, running.tokens_BKL.reshape(-1, length), state.num_decoded
        )
        total_BKV = running.scores_BK[..., None] + scores_RV.reshape(batch_size, num_beams, vocab_size)
        num_ends = len(ids_of_eos(search.eos_id))
        number = min(max(2, 1 + num_ends), vocab_size) * num_beams
        scores_BN, places_BN = jax.lax.top_k(total_BKV.reshape(batch_size, -1), number)
        parents_BN, tokens_BN = places_BN // vocab_size, places_BN % vocab_size
        candidates = running.taken(parents_BN)
        log_probs_BNL = candidates.log_probs_BKL
        if log_probs_BNL is not None:
            log_probs_BN = _take(log_probs_RV.reshape(batch_size, -1), places_BN)
            log_probs_BNL = _with_column(log_probs_BNL, log_probs_BN, state.num_decoded)
        candidates = Beams(
            scores_BN, _with_column(candidates.tokens_BKL, tokens_BN, state.num_decoded), log_probs_BNL
        )
        return candidates, parents_BN, tokens_BN


def _take(x_BK: jax.Array, places_BN: jax.Array) -> jax.Array:
    """Return ``[B, N, ...]``: of each input what is at its places."""
    return jnp.take_along_axis(x_BK, places_BN.reshape(*places_BN.shape, *[1] * (x_BK.ndim - 2)), axis=1)


def _with_column(x_BNL: jax.Array, column_BN: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_BNL, column_BN[..., None], index, axis=2)

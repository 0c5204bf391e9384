"""The beam search that conventions vary: which texts are finished, how they are compared, when it is over."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.cpu.top_k import top_k
from t5lite.decoding.cache import DecodingCache, Read
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


class Group(NamedTuple):
    """Beams that continue and finish by themselves: K of each of B inputs."""

    running: Beams
    finished: Beams
    open_B: jax.Array
    """Whether an input's finished texts may still change."""


class BeamState(NamedTuple):
    """Of B inputs with so many beams each, in one group or more: a row a beam."""

    cache: DecodingCache
    num_decoded: jax.Array
    previous_R: jax.Array
    groups: tuple[Group, ...]
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

    @property
    def num_groups(self) -> int:
        """Groups that the beams are divided into."""
        return 1

    @property
    def group_size(self) -> int:
        """Beams of a group."""
        return self.num_beams // self.num_groups

    def rows(self, start: Start, search: Search) -> Start:
        """Return a row for each beam."""
        return start.branched(self.num_beams, search.max_decode_length)

    @abstractmethod
    def normalized(self, scores: jax.Array, length: jax.Array | int) -> jax.Array:
        """Return what finished texts of this length are compared by, given summed log probabilities."""

    @abstractmethod
    def can_improve(self, group: Group, num_decoded: jax.Array, max_decode_length: int) -> jax.Array:
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
        batch_size = start.tokens_BP.shape[0] // self.num_beams
        shape = (batch_size, self.group_size)
        room = (*shape, search.max_decode_length)
        none = Beams(
            jnp.full(shape, -jnp.inf),
            jnp.full(room, PAD_ID, jnp.int32),
            jnp.zeros(room) if search.log_probs else None,
        )
        running = none._replace(scores_BK=none.scores_BK.at[:, 0].set(0.0))
        return BeamState(
            start.cache,
            num_decoded=jnp.zeros((), jnp.int32),
            previous_R=start.tokens_BP[:, -1],
            groups=(Group(running, none, jnp.ones((batch_size,), bool)),) * self.num_groups,
            prefix=search.prefix(start),
        )

    def choose(self, decoder: Decoder[Any], state: BeamState, read: Read, search: Search) -> BeamState:
        """Take the best of all continuations: those that end apart, the best of the others to go on."""
        log_probs_RV = jax.nn.log_softmax(read.logits_RV)
        steps: list[_Step] = []
        taken: list[jax.Array] = []
        for number, group in enumerate(state.groups):
            log_probs_BKV, prefix = self._of_group(number, (log_probs_RV, state.prefix))
            scores_RV = search.processed(
                _rows(self.compared(log_probs_BKV, jnp.concatenate(taken, axis=1) if taken else None)),
                jax.tree.map(_rows, prefix),
                _rows(group.running.tokens_BKL),
                state.num_decoded,
            )
            scores_BKV = scores_RV.reshape(log_probs_BKV.shape)
            steps.append(self._step(group, log_probs_BKV, scores_BKV, state.num_decoded, search))
            taken.append(jnp.where(group.open_B[:, None], steps[-1].tokens_BK, -1))
        parents_BK = jnp.concatenate(
            [number * self.group_size + step.parents_BK for number, step in enumerate(steps)], axis=1
        )
        return state._replace(
            cache=decoder.reorder(state.cache, parents_BK),
            num_decoded=state.num_decoded + 1,
            previous_R=jnp.concatenate([step.tokens_BK for step in steps], axis=1).reshape(-1),
            groups=tuple(step.group for step in steps),
        )

    def compared(self, log_probs_BKV: jax.Array, taken_BN: jax.Array | None) -> jax.Array:
        """Return what tokens are compared by, before processors.

        Args:
          log_probs_BKV: of a group's beams.
          taken_BN: the tokens that earlier groups have taken at this position, -1 of a group whose finished
            texts can change no more; None of the first.
        """
        del taken_BN
        return log_probs_BKV

    def unfinished(self, state: BeamState) -> jax.Array:
        """Return whether the finished texts of any input may still change."""
        return jnp.any(jnp.stack([group.open_B for group in state.groups]))

    def written(self, state: BeamState, search: Search) -> Written:
        """Return the best finished texts, of all groups."""
        del search
        first, *others = (self.results(group) for group in state.groups)
        for each in others:
            first = first.beside(each)
        best, _ = first.best(self.num_return_sequences)
        scores_R, tokens_RL, log_probs_RL = jax.tree.map(_rows, best)
        return Written(tokens_RL, log_probs_RL, scores_R)

    def results(self, group: Group) -> Beams:
        """Return what is returned."""
        return group.finished

    def _of_group(self, number: int, rows: Any) -> Any:
        """Return of arrays ``[R, ...]`` a group's ``[B, K, ...]``."""
        shape = (-1, self.num_groups, self.group_size)
        return jax.tree.map(lambda x_R: x_R.reshape(*shape, *x_R.shape[1:])[:, number], rows)

    def _step(
        self,
        group: Group,
        log_probs_BKV: jax.Array,
        scores_BKV: jax.Array,
        num_decoded: jax.Array,
        search: Search,
    ) -> "_Step":
        candidates, parents_BN, tokens_BN = self._candidates(
            group.running, log_probs_BKV, scores_BKV, num_decoded, search
        )
        num_decoded = num_decoded + 1
        ended_BN = search.ends(tokens_BN)
        is_full = num_decoded >= search.max_decode_length
        finishing_BN = self.finishing(ended_BN, is_full=is_full) & group.open_B[:, None]
        compared_BN = self.normalized(candidates.scores_BK, num_decoded)
        finished, _ = group.finished.beside(
            candidates._replace(scores_BK=jnp.where(finishing_BN, compared_BN, -jnp.inf))
        ).best(self.group_size)
        running, places_BK = candidates._replace(
            scores_BK=jnp.where(ended_BN, -jnp.inf, candidates.scores_BK)
        ).best(self.group_size)
        group = Group(running, finished, group.open_B)
        open_B = group.open_B & self.can_improve(group, num_decoded, search.max_decode_length)
        return _Step(group._replace(open_B=open_B), _take(parents_BN, places_BK), _take(tokens_BN, places_BK))

    def _candidates(
        self,
        running: Beams,
        log_probs_BKV: jax.Array,
        scores_BKV: jax.Array,
        num_decoded: jax.Array,
        search: Search,
    ) -> tuple[Beams, jax.Array, jax.Array]:
        """Return the best continuations, each one's beam, and its token.

        They are so many that enough of them go on, even if as many end as there are ways to end.
        """
        batch_size, num_beams, vocab_size = scores_BKV.shape
        total_BKV = running.scores_BK[..., None] + scores_BKV
        num_ends = len(ids_of_eos(search.eos_id))
        number = min(max(2, 1 + num_ends), vocab_size) * num_beams
        scores_BN, places_BN = top_k(total_BKV.reshape(batch_size, -1), number)
        parents_BN, tokens_BN = places_BN // vocab_size, places_BN % vocab_size
        candidates = running.taken(parents_BN)
        log_probs_BNL = candidates.log_probs_BKL
        if log_probs_BNL is not None:
            log_probs_BN = _take(log_probs_BKV.reshape(batch_size, -1), places_BN)
            log_probs_BNL = _with_column(log_probs_BNL, log_probs_BN, num_decoded)
        candidates = Beams(
            scores_BN, _with_column(candidates.tokens_BKL, tokens_BN, num_decoded), log_probs_BNL
        )
        return candidates, parents_BN, tokens_BN


class _Step(NamedTuple):
    """What a group has become: the beam that each of its beams continues, and by which token."""

    group: Group
    parents_BK: jax.Array
    tokens_BK: jax.Array


def _rows(x_BK: jax.Array) -> jax.Array:
    """Return ``[B, K, ...]`` as rows."""
    return x_BK.reshape(-1, *x_BK.shape[2:])


def _take(x_BK: jax.Array, places_BN: jax.Array) -> jax.Array:
    """Return ``[B, N, ...]``: of each input what is at its places."""
    return jnp.take_along_axis(x_BK, places_BN.reshape(*places_BN.shape, *[1] * (x_BK.ndim - 2)), axis=1)


def _with_column(x_BNL: jax.Array, column_BN: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(x_BNL, column_BN[..., None], index, axis=2)

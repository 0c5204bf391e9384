"""What every strategy of search is told, and answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.decoding.cache import DecodingCache, Read
from t5lite.decoding.decoder import Decoder, Start
from t5lite.decoding.processors import History, Processor

EosIds = int | Sequence[int] | None
"""What ends a row: an id, any of several, or (None) nothing."""


def ids_of_eos(eos_id: EosIds) -> tuple[int, ...]:
    """Return the ids that end a row, none or more."""
    if eos_id is None:
        return ()
    return (eos_id,) if isinstance(eos_id, int) else tuple(eos_id)


def known(logits: jax.Array, known_V: np.ndarray | None) -> jax.Array:
    """Return logits ``[..., V]`` with minus infinity where a row of the table stands for no token."""
    return logits if known_V is None else jnp.where(known_V, logits, -jnp.inf)


class Prefix(NamedTuple):
    """What stands in front of what is written."""

    tokens_RP: jax.Array
    first_R: jax.Array


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search is told besides the model and its inputs, whatever its strategy.

    Attributes:
      max_decode_length: most tokens of a text, EOS included.
      eos_id: what ends a text; None lets all reach ``max_decode_length``.
      known_V: bool, the rows of the table that stand for a token; the others have no probability. None: all
        do.
      processors: change the scores of the next token, in this order. Where they leave none, the text ends;
        without EOS they do not count there.
      log_probs: whether the log probability of each token is returned.
    """

    max_decode_length: int
    eos_id: EosIds
    known_V: np.ndarray | None = None
    processors: tuple[Processor, ...] = ()
    log_probs: bool = False

    def known(self, logits: jax.Array) -> jax.Array:
        """Return logits ``[..., V]`` of tokens alone: other rows of the table have no probability at all."""
        return known(logits, self.known_V)

    def ends(self, tokens: jax.Array) -> jax.Array:
        """Return where a token ends its text."""
        return jnp.isin(tokens, jnp.asarray(ids_of_eos(self.eos_id), jnp.int32))

    def prefix(self, start: Start) -> Prefix | None:
        """Return what a state must hold for processors."""
        return Prefix(start.tokens_BP, start.first_B) if self.processors else None

    def processed(
        self, scores_RV: jax.Array, prefix: Prefix | None, decoded_RL: jax.Array, num_decoded: jax.Array
    ) -> jax.Array:
        """Return the scores as processors have them, with minus infinity at what is not to be chosen.

        Args:
          scores_RV: logits, or log probabilities; minus infinity where there is no token.
          prefix: of ``prefix``.
          decoded_RL: what is written.
          num_decoded: how many tokens of it.
        """
        if prefix is None:
            return scores_RV
        history = History(
            jnp.concatenate([prefix.tokens_RP, decoded_RL], axis=1),
            prefix.first_R,
            prefix.tokens_RP.shape[1] + num_decoded,
            num_decoded,
        )
        allowed_RV = scores_RV
        for processor in self.processors:
            allowed_RV = processor(allowed_RV, history)
        left_RV = scores_RV
        if ids_of_eos(self.eos_id):
            left_RV = jnp.where(self.ends(jnp.arange(scores_RV.shape[1])[None]), scores_RV, -jnp.inf)
        none_R1 = jnp.all(allowed_RV == -jnp.inf, axis=1, keepdims=True)
        return jnp.where(none_R1, left_RV, allowed_RV)


class Written(NamedTuple):
    """What a search has written: R rows, those of an input one after another, the best first."""

    tokens_RL: jax.Array
    """int32: a text, with its EOS if it has one, and padding (0)."""
    log_probs_RL: jax.Array | None = None
    """float32: the model's own log probability of each token, 0 behind the text; None if not asked for."""
    scores_R: jax.Array | None = None
    """float32: what texts of an input were compared by; minus infinity where there are fewer. None of a
    strategy that does not compare."""


class SearchState(Protocol):
    """What a search goes on from; a ``NamedTuple`` of arrays, with what is the strategy's own."""

    @property
    def cache(self) -> DecodingCache:
        """Of all rows."""
        ...

    @property
    def num_decoded(self) -> jax.Array:
        """int32 scalar: tokens of each row so far."""
        ...

    @property
    def previous_R(self) -> jax.Array:
        """The last token of each row, not yet in the cache."""
        ...

    def _replace(self, **changes: Any) -> Any: ...


StateT = TypeVar("StateT", bound=SearchState)


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC, Generic[StateT]):
    """How the next tokens are chosen: options as fields of a frozen dataclass; traceable."""

    name: ClassVar[str]
    """By which it is chosen."""
    ends_rows: ClassVar[bool] = False
    """Whether a row may be ended from without (``ended``): of rows that know nothing of one another."""

    num_ahead: ClassVar[int] = 0
    """Tokens that the model reads beyond those that precede one that is written."""

    @property
    def num_sequences(self) -> int:
        """Texts that are returned for an input."""
        return 1

    def rows(self, start: Start, search: Search) -> Start:
        """Return a start with the rows that are decoded at once for an input, one after another."""
        del search
        return start.repeated(self.num_sequences)

    @abstractmethod
    def begin(self, start: Start, indices_B: jax.Array | None, search: Search) -> StateT:
        """Return the state of rows in which nothing is written.

        Args:
          start: of all rows, those of an input one after another.
          indices_B: int32, which inputs they are: what is drawn depends on nothing else. None: 0, 1, ...
          search: what is searched.
        """

    @abstractmethod
    def choose(self, decoder: Decoder[Any], state: StateT, read: Read, search: Search) -> StateT:
        """Write a token of every row, given what the model makes of those before it."""

    def ended(self, state: StateT, ended_R: jax.Array) -> StateT:
        """Return the state in which those rows have ended, or without ``ends_rows`` as it is."""
        del ended_R
        return state

    @abstractmethod
    def unfinished(self, state: StateT) -> jax.Array:
        """Return whether more tokens can change the result."""

    @abstractmethod
    def written(self, state: StateT, search: Search) -> Written:
        """Return the result."""

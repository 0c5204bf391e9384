"""Models with a decoder write token by token, by a search."""

from abc import abstractmethod
from typing import Any, ClassVar

import jax
import numpy as np

from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding.decoder import Decoder
from t5lite.decoding.mode import DecodingMode
from t5lite.decoding.search import begin, resume, run_search
from t5lite.decoding.strategies import Greedy, Search, SearchState, Written
from t5lite.models.config import ModelConfig


class Searching(DecodingMode):
    """The marks are what the decoder tells padding by."""

    searches: ClassVar[bool] = True
    decoder: ClassVar[type[Decoder[Any]]]
    """How the architecture is decoded."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary, **options: Any):
        super().__init__(config, vocabulary, **options)
        if (chunk_size := self.decoding.prefill_chunk_size) is not None:
            self.check_chunks(chunk_size)

    @property
    def num_sequences(self) -> int:
        """Texts that the strategy returns for an input."""
        return self.decoding.strategy.num_sequences

    @property
    def max_read(self) -> int:
        """Most tokens of a text that the model reads, the one in front of it counted."""
        return self.search.max_decode_length + self.decoding.strategy.num_ahead

    @abstractmethod
    def check_chunks(self, chunk_size: int) -> None:
        """Check that inputs can be read in chunks of so many tokens.

        Raises:
          ConfigError: if the model reads them whole.
        """

    def decoder_of(self, model: Any) -> Decoder[Any]:
        """Return how a bound model is decoded."""
        chunk_size = self.decoding.prefill_chunk_size
        return self.decoder(model, self.search.max_decode_length, prefill_chunk_size=chunk_size)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array) -> Written:
        """Return what is written, rows of ``max_decode_length``."""
        return run_search(
            self.decoder_of(model),
            tokens_BM,
            marks,
            strategy=self.decoding.strategy,
            search=self.search,
            indices_B=indices_B,
        )

    def begin(self, model: Any, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array) -> SearchState:
        """Return the state of ``run`` before its loop; traceable."""
        decoder, strategy = self.decoder_of(model), self.decoding.strategy
        return begin(decoder, tokens_BM, marks, indices_B, strategy=strategy, search=self.search)

    def go_on(self, model: Any, state: SearchState, ended_R: jax.Array, num_tokens: int) -> SearchState:
        """Write up to so many tokens more of rows that are not to end; traceable."""
        strategy = self.decoding.strategy
        return resume(
            self.decoder_of(model),
            strategy.ended(state, ended_R),
            strategy=strategy,
            search=self.search,
            most=state.num_decoded + num_tokens,
        )

    @classmethod
    def greedy(cls, model: Any, tokens_BM: jax.Array, marks: jax.Array, search: Search) -> jax.Array:
        """Return what a bound model writes by greedy search, for an export."""
        decoder = cls.decoder(model, search.max_decode_length)
        return run_search(decoder, tokens_BM, marks, strategy=Greedy(), search=search).tokens_RL

    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the ids before the first EOS, and whether there is one."""
        del marks
        # The padding that follows may be a token.
        ends = np.flatnonzero(np.isin(ids, self.eos_ids))
        return (ids[: ends[0]], True) if len(ends) else (ids, False)

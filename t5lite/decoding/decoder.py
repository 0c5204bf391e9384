"""What every search asks of a model, whatever its architecture: start, advance, reorder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from t5lite.decoding.cache import (
    DecodingCache,
    Read,
    advance,
    branched,
    read,
    reorder,
    start_cache,
    start_prompt_cache,
    take,
)
from t5lite.models.decoder_only import DecoderOnly
from t5lite.models.encoder_decoder import EncoderDecoder

ModelT = TypeVar("ModelT", bound=Any)


class Start(NamedTuple):
    """Where a search begins."""

    cache: DecodingCache
    tokens_BP: jax.Array
    """What stands in front of the text that is written: a prompt, or the start token alone."""
    first_B: jax.Array
    """Column of ``tokens_BP`` where each row's first token is, after its padding."""
    read: Read | None
    """The last of ``tokens_BP``; None if it is not in the cache yet."""
    hidden_BPD: jax.Array
    """Hidden states of ``tokens_BP``, of an input once, however many rows it has; of what is not read, 0."""
    num_virtual_tokens: int = 0
    """Positions that the cache has before ``tokens_BP``."""

    def repeated(self, times: int) -> "Start":
        """Return every row so many times, one after another: of several texts that are written at once."""
        if times == 1:
            return self
        rows_B = jnp.repeat(jnp.arange(self.tokens_BP.shape[0]), times)
        return self._with_rows(rows_B, take(self.cache, rows_B))

    def branched(self, times: int, max_decode_length: int) -> "Start":
        """Return the same for texts that take over from each other what they have (``reorder``)."""
        num_rows, length = self.tokens_BP.shape
        num_positions = self.num_virtual_tokens + length + max_decode_length
        cache = branched(self.cache, times, num_positions)
        return self._with_rows(jnp.repeat(jnp.arange(num_rows), times), cache)

    def _with_rows(self, rows_B: jax.Array, cache: DecodingCache) -> "Start":
        read = jax.tree.map(lambda x: x[rows_B], self.read)
        return self._replace(
            cache=cache, tokens_BP=self.tokens_BP[rows_B], first_B=self.first_B[rows_B], read=read
        )


@dataclass(frozen=True)
class Decoder(ABC, Generic[ModelT]):
    """A model that writes token by token; traceable.

    Attributes:
      model: a bound module (``FunctionalModel.bind``), used without dropout.
      max_decode_length: most tokens that are written, EOS included.
      prefill_chunk_size: most tokens of a prompt that are read at once; None: all. Of a decoder alone.
    """

    model: ModelT
    max_decode_length: int
    prefill_chunk_size: int | None = None

    @abstractmethod
    def start(self, tokens_BM: jax.Array, marks: jax.Array | None) -> Start:
        """Read inputs; what marks are is the architecture's.

        Raises:
          ConfigError: if inputs and what is written are longer than a learned position table.
        """

    def advance(self, cache: DecodingCache, tokens_B: jax.Array) -> tuple[Read, DecodingCache]:
        """Feed a token a text; return what the model makes of it, and the new cache."""
        return advance(self.model, cache, tokens_B)

    def reorder(self, cache: DecodingCache, parents_BL: jax.Array) -> DecodingCache:
        """Return a branched cache whose text ``i`` has what text ``parents_BL[:, i]`` of its input had."""
        return reorder(cache, parents_BL)


class AnsweringDecoder(Decoder[EncoderDecoder]):
    """An encoder-decoder: marks are segment ids, 0 on padding; None means no padding."""

    def start(self, tokens_BM: jax.Array, marks: jax.Array | None) -> Start:
        """Run the encoder; the model's start token is what is read first."""
        for length in (tokens_BM.shape[1], self.max_decode_length):
            self.model.config.check_length(length)
        cache = start_cache(
            self.model,
            tokens_BM,
            encoder_segment_ids_BM=marks,
            max_decode_length=self.max_decode_length,
        )
        batch_size = tokens_BM.shape[0]
        start_B1 = jnp.full((batch_size, 1), self.model.config.decoder_start_id, jnp.int32)
        hidden_B1D = jnp.zeros((batch_size, 1, self.model.config.stacks[-1].embed_dim))
        return Start(cache, start_B1, jnp.zeros((batch_size,), jnp.int32), None, hidden_B1D)


class ContinuingDecoder(Decoder[DecoderOnly]):
    """A decoder alone, after prompts that end at the last column: marks are the columns of first tokens."""

    def start(self, tokens_BM: jax.Array, marks: jax.Array | None) -> Start:
        """Run the prompts; the result does not depend on the padding in front of them."""
        num_virtual_tokens = self.model.num_virtual_tokens
        self.model.config.check_length(num_virtual_tokens + tokens_BM.shape[1] + self.max_decode_length - 1)
        first_B = jnp.zeros((tokens_BM.shape[0],), jnp.int32) if marks is None else marks
        hidden_BPD, cache = start_prompt_cache(
            self.model,
            tokens_BM,
            first_B=first_B,
            max_decode_length=self.max_decode_length,
            chunk_size=self.prefill_chunk_size,
        )
        last = read(self.model, hidden_BPD[:, -1:])
        return Start(cache, tokens_BM, first_B, last, hidden_BPD, num_virtual_tokens)

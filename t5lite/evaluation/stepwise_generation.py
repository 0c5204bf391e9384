"""Texts token by token, for whoever shows them as they are written; ``text_generation`` writes them whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import (
    DecodingCache,
    Read,
    Row,
    advance,
    decoding_mode,
    read,
    start_cache,
    start_prompt_cache,
)
from t5lite.decoding.row_sampling import Needs, Picked, RowOptions, pick
from t5lite.decoding.streamed_text import StreamedText
from t5lite.evaluation.length_buckets import UNBOUNDED, padded_length
from t5lite.models.config import Architecture
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows

_SOME = 1 << 20
"""Length of inputs, which are cut before they come here."""
FinishReason: TypeAlias = Literal["stop", "length"]
"""EOS or a stop string, or as many tokens as were wanted."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One text that is to be written.

    Attributes:
      row: what the model reads.
      max_tokens: most tokens of the text, EOS included; at least one.
      temperature: 0 takes the most probable token each time.
      top_p: the fewest most probable tokens of that probability together are sampled from.
      seed: of sampling, any integer.
      stops: strings that end the text, and are no part of it.
      num_top: of how many most probable tokens the log-probability is told, besides that of the one written.
    """

    row: Row
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = ()
    num_top: int = 0


class Piece(NamedTuple):
    """What a step adds to a text."""

    number: int
    """Of the text, among those wanted."""
    token: int | None
    """None where EOS ends it."""
    text: str
    """What can be shown of it now, maybe nothing."""
    log_prob: float
    """Of the token, or of EOS."""
    top: dict[int, float]
    """Log-probabilities of the most probable tokens, the first of them first."""
    offset: int
    """Characters of the text before the token."""
    finish: FinishReason | None
    """Why the text ends here, if it does."""
    stopped: bool = False
    """Whether a stop string ends it, so that what is not shown of the last tokens is no part of it."""


def _answer(model: Any, tokens_BM: jax.Array, marks: jax.Array, length: int) -> tuple[Read, DecodingCache]:
    cache = start_cache(model, tokens_BM, encoder_segment_ids_BM=marks, max_decode_length=length)
    start_B = jnp.full((tokens_BM.shape[0],), model.config.decoder_start_id, jnp.int32)
    return advance(model, cache, start_B)


def _continue(model: Any, tokens_BL: jax.Array, marks: jax.Array, length: int) -> tuple[Read, DecodingCache]:
    hidden_BLD, cache = start_prompt_cache(model, tokens_BL, first_B=marks, max_decode_length=length)
    return read(model, hidden_BLD[:, -1:]), cache


_BEGINNINGS: Mapping[Architecture, Callable[..., tuple[Read, DecodingCache]]] = {
    "encoder_decoder": _answer,
    "decoder_only": _continue,
}
"""How inputs are read, and a cache with room for so many tokens."""


class StepwiseGenerator:
    """Writes several texts at once, in few compiled shapes whatever their lengths and options.

    Keep the object to write repeatedly without compiling again.

    Args:
      model: the functional model that ``params`` belong to.
      vocabulary: decodes what is written.
      eos_ids: what ends a text besides the vocabulary's EOS.
      partitioner: where ``params`` lie, and caches and logits with them; None for one device.

    Raises:
      ConfigError: if the model does not write token by token.
    """

    def __init__(
        self,
        model: FunctionalModel,
        vocabulary: Vocabulary,
        *,
        eos_ids: Sequence[int] = (),
        partitioner: Partitioner | None = None,
    ):
        if model.config.architecture not in _BEGINNINGS:
            raise ConfigError(
                "an encoder-only model does not write token by token; take an encoder-decoder or a "
                "decoder-only model"
            )
        self.config, self.vocabulary, self._partitioner = model.config, vocabulary, partitioner
        begin_text = _BEGINNINGS[model.config.architecture]
        self._mode = decoding_mode(model.config)(
            model.config, vocabulary, encoder_length=_SOME, max_decode_length=1, eos_ids=eos_ids
        )
        self.eos_ids, search = frozenset(self._mode.eos_ids), self._mode.search

        def begin(
            params: Tree,
            tokens_BM: jax.Array,
            marks: jax.Array,
            options: RowOptions,
            length: int,
            needs: Needs,
        ) -> tuple[Picked, DecodingCache]:
            with activated(partitioner):
                last, cache = begin_text(model.bind(params), tokens_BM, marks, length)
            return pick(search.known(last.logits_RV), options, jnp.zeros((), jnp.int32), needs), cache

        def go_on(
            params: Tree,
            cache: DecodingCache,
            token_B: jax.Array,
            options: RowOptions,
            place: jax.Array,
            needs: Needs,
        ) -> tuple[Picked, DecodingCache]:
            with activated(partitioner):
                last, cache = advance(model.bind(params), cache, token_B)
            return pick(search.known(last.logits_RV), options, place, needs), cache

        self.begin: Any = jax.jit(begin, static_argnums=(4, 5))
        """Reads arrays and picks the first token; for ``Writing``."""
        self.go_on: Any = jax.jit(go_on, static_argnums=5, donate_argnums=1)
        """Picks the next token; for ``Writing``."""

    def arrays(self, rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows padded to a length, and what tells the padding apart."""
        return self._mode.arrays(rows, length)

    def num_rows(self, num_texts: int) -> int:
        """Return of how many rows an array is: of few counts, that the devices share evenly."""
        return even_rows(1 << (num_texts - 1).bit_length(), self._partitioner)

    def room_after(self, length: int) -> int:
        """Return the most tokens that can be written for a row of a length."""
        most = self.config.position_limit or UNBOUNDED
        # The last token that is written is never read; an encoder's positions are its own.
        return max(0, most - length + 1) if has_one_row(self.config.architecture) else most

    def fit_together(self, wanted: Sequence[Wanted]) -> bool:
        """Return whether the model has positions for these at once, each with room for the longest."""
        longest, most = _sizes(wanted)
        return most <= self.room_after(longest)

    def check_fit(self, wanted: Sequence[Wanted]) -> None:
        """Check that the model has positions for these at once.

        Raises:
          ConfigError: if it has too few.
        """
        longest, most = _sizes(wanted)
        if most > (room := self.room_after(longest)):
            raise ConfigError(
                f"max_tokens={most} is more than the {room} that the model has positions for after "
                f"{longest} tokens that are read; ask for fewer, or write long inputs and long texts apart"
            )

    def batches(self, wanted: Sequence[Wanted], batch_size: int) -> Iterator[list[int]]:
        """Yield the numbers of those that are written together: of like lengths, and such as fit."""
        order = sorted(
            range(len(wanted)), key=lambda each: (wanted[each].max_tokens, len(wanted[each].row.ids))
        )
        batch: list[int] = []
        for number in order:
            together = [wanted[each] for each in (*batch, number)]
            if batch and (len(batch) == batch_size or not self.fit_together(together)):
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def write(self, params: Tree, wanted: Sequence[Wanted]) -> "Writing":
        """Read what is to be answered or continued; return what writes.

        Raises:
          ConfigError: as of ``check_fit``.
        """
        return Writing(self, params, wanted)


class Writing:
    """Texts that are being written at once; a step of all of them at a time.

    Args:
      generator: what writes them.
      params: nested dict of parameters.
      wanted: at least one.

    Raises:
      ConfigError: if the model has too few positions.
    """

    def __init__(self, generator: StepwiseGenerator, params: Tree, wanted: Sequence[Wanted]):
        generator.check_fit(wanted)
        self._generator, self._params, self._wanted = generator, params, tuple(wanted)
        self._texts = [StreamedText(generator.vocabulary, each.stops) for each in self._wanted]
        self._counts = [0] * len(self._wanted)
        self._live = set(range(len(self._wanted)))
        self._length = max(each.max_tokens for each in self._wanted)
        # Rows that fill up are of no interest; few row counts, as few lengths, are compiled for.
        num_more = generator.num_rows(len(wanted)) - len(wanted)
        filled_up = [*self._wanted, *self._wanted[:1] * num_more]
        self._options = RowOptions(
            jnp.array([each.temperature for each in filled_up], jnp.float32),
            jnp.array([each.top_p for each in filled_up], jnp.float32),
            jnp.array([each.seed % 2**32 for each in filled_up], jnp.uint32),
        )
        self._needs = Needs(
            sampling=any(each.temperature > 0 for each in self._wanted),
            top_p=any(each.temperature > 0 and each.top_p < 1 for each in self._wanted),
            num_top=max(each.num_top for each in self._wanted),
        )
        self._picked, self._cache, self._place = *self._begin([each.row.ids for each in filled_up]), 1

    def _begin(self, rows: list[np.ndarray]) -> tuple[Picked, DecodingCache]:
        generator, longest = self._generator, max(len(ids) for ids in rows)
        length = padded_length(self._length, generator.room_after(longest))
        most = generator.config.position_limit or UNBOUNDED
        if has_one_row(generator.config.architecture):
            most -= length - 1
        tokens_BM, marks = generator.arrays(rows, padded_length(longest, most))
        return generator.begin(self._params, tokens_BM, marks, self._options, length, self._needs)

    @property
    def unfinished(self) -> bool:
        """Whether any text goes on."""
        return bool(self._live)

    def end(self, number: int) -> None:
        """Write no more of a text: nobody waits for it."""
        self._live.discard(number)

    def step(self) -> Iterator[Piece]:
        """Yield what the next token adds to each text that goes on."""
        picked = self._picked
        if self._place < self._length:  # computed while what is there is read
            place = np.int32(self._place)
            self._picked, self._cache = self._generator.go_on(
                self._params, self._cache, picked.token_B, self._options, place, self._needs
            )
            self._place += 1
        tokens, log_probs, tops, top_log_probs = (np.asarray(each).tolist() for each in picked)
        for number in sorted(self._live):
            top = dict(zip(tops[number], top_log_probs[number], strict=True))
            yield self._piece(number, tokens[number], log_probs[number], top)

    def _piece(self, number: int, token: int, log_prob: float, top: dict[int, float]) -> Piece:
        text = self._texts[number]
        offset = text.num_decoded
        self._counts[number] += 1
        finish: FinishReason | None = None
        if token in self._generator.eos_ids:
            written, shown, finish = None, text.finish(), "stop"
        else:
            written, shown = token, text.add(token)
            if text.stopped:
                finish = "stop"
            elif self._counts[number] == self._wanted[number].max_tokens:
                shown += text.finish()
                finish = "stop" if text.stopped else "length"
        if finish is not None:
            self._live.discard(number)
        return Piece(number, written, shown, log_prob, top, offset, finish, text.stopped)


def _sizes(wanted: Sequence[Wanted]) -> tuple[int, int]:
    """Return the length of the longest input, and the most tokens of a text."""
    return max(len(each.row.ids) for each in wanted), max(each.max_tokens for each in wanted)

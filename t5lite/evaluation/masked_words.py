"""Which word a model puts into the gap of a text: cloze questions, as of LAMA (Petroni et al., 2019).

A masked LM reads [MASK] in the place of each token of the word, an encoder-decoder its first sentinel in the
place of the whole word, as span corruption has it. The word that is hidden is cut into tokens in its text, so
that all around it is what the model was trained on.

A word of one token has a rank in the vocabulary. One of several has none; its log-probability is that of its
tokens from left to right, each given those before it and none behind it (Kauf & Ivanova, 2023): given the
others, the last piece of a word is no surprise, and long words would win.
"""

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, buckets
from t5lite.evaluation.minimal_pairs import check_predicts_tokens, span_frame
from t5lite.models.config import Architecture
from t5lite.models.functional import FunctionalModel

NUM_BEST = 10
"""Most probable tokens that are kept of a gap."""


class WordInText(NamedTuple):
    """The tokens of a text, and which of them are its word."""

    ids: np.ndarray
    start: int
    stop: int

    @property
    def word(self) -> np.ndarray:
        """The ids of the word."""
        return self.ids[self.start : self.stop]


def word_in_text(vocabulary: Vocabulary, before: str, word: str, after: str) -> WordInText | None:
    """Return the tokens of ``before + word + after``; None where one holds some of the word and of its text.

    White space at the ends of a token is nobody's.
    """
    text, first, end = before + word + after, len(before), len(before) + len(word)
    ids, starts = vocabulary.encode_with_offsets(text)
    places = sorted({*starts.tolist(), len(text)})
    ends = dict(itertools.pairwise(places))
    inside = []
    for number, start in enumerate(starts.tolist()):
        said = text[start : ends[start]]
        begins = start + len(said) - len(said.lstrip())
        stops = start + len(said.rstrip())
        if begins >= stops or stops <= first or begins >= end:
            continue
        if begins < first or stops > end:
            return None
        inside.append(number)
    return WordInText(ids, inside[0], inside[-1] + 1) if inside else None


class Gap(NamedTuple):
    """A token that is asked for."""

    read: np.ndarray
    """What the encoder reads, framed, with something in the token's place."""
    written: tuple[int, ...]
    """What stands before it in the decoder; nothing of a model that has none."""
    place: int
    """Where its model predicts it."""
    token: int


class Guess(NamedTuple):
    """What a model says of a gap."""

    log_prob: float
    """Of the token that is asked for, in nats."""
    rank: int
    """Of it among all tokens, from 1; those that are as probable stand before it."""
    best: Sequence[int]
    """The most probable tokens."""
    best_log_probs: Sequence[float]


class GapModel(ABC):
    """How a model is asked for the tokens of a word.

    Args:
      model: the functional model that parameters belong to.
      vocabulary: of the model.
      batch_size: gaps at once.

    Raises:
      ConfigError: if the model predicts no tokens, or the vocabulary lacks what it is asked with.
    """

    def __init__(self, model: FunctionalModel, vocabulary: Vocabulary, *, batch_size: int):
        self.config, self._batch_size = model.config, batch_size
        known_V = vocabulary.known_ids

        @jax.jit
        def guess(params: Tree, batch: Mapping[str, jax.Array], place_B: jax.Array, token_B: jax.Array):
            factors = model.bind(params).outputs(batch)["tokens"]
            # Of one place of each row alone are there logits.
            at_BLD = jnp.take_along_axis(factors.x_BLD, place_B[:, None, None], axis=1)
            logits_BV = dataclasses.replace(factors, x_BLD=at_BLD).logits()[:, 0]
            # A table may have rows that no token has.
            num_more = logits_BV.shape[1] - len(known_V)
            is_known_1V = jnp.pad(jnp.asarray(known_V), (0, max(0, num_more)))[None, : logits_BV.shape[1]]
            log_probs_BV = jax.nn.log_softmax(jnp.where(is_known_1V, logits_BV, -jnp.inf))
            wanted_B1 = jnp.take_along_axis(log_probs_BV, token_B[:, None], axis=1)
            # Of what is no number all are before it, and not none.
            rank_B = jnp.sum(~(log_probs_BV < wanted_B1) & is_known_1V, axis=1)
            best_BK, ids_BK = jax.lax.top_k(log_probs_BV, min(NUM_BEST, logits_BV.shape[1]))
            return wanted_B1[:, 0], rank_B, ids_BK, best_BK

        self._guess = guess

    @abstractmethod
    def gaps(self, given: WordInText) -> list[Gap]:
        """Return what is asked for, one after the other: the tokens of the word from left to right."""

    @abstractmethod
    def _batch(self, gaps: Sequence[Gap], length: int) -> dict[str, np.ndarray]:
        """Return the batch of gaps of inputs of at most ``length`` tokens."""

    def guesses(self, params: Tree, gaps: Sequence[Gap]) -> list[Guess]:
        """Return what the model says of each gap, in order.

        Raises:
          ConfigError: if an input has more tokens than the model has positions for.
        """
        found: dict[int, Guess] = {}
        for numbers, some, length in self._batches(gaps):
            places, tokens = (np.array([each[column] for each in some], np.int32) for column in (2, 3))
            said = self._guess(params, self._batch(some, length), places, tokens)
            columns = [np.asarray(each).tolist() for each in said]
            found |= {number: Guess(*row) for number, *row in zip(numbers, *columns, strict=False)}
        return [found[number] for number in range(len(gaps))]

    def _batches(self, gaps: Sequence[Gap]) -> Iterator[tuple[list[int], list[Gap], int]]:
        lengths = [len(each.read) for each in gaps]
        self.config.check_length(max(lengths, default=0))
        most = self.config.position_limit or UNBOUNDED
        for bucket in buckets(lengths, batch_size=self._batch_size, most=most):
            numbers = list(bucket.numbers)
            filled_up = numbers + numbers[:1] * (self._batch_size - len(numbers))
            yield numbers, [gaps[number] for number in filled_up], bucket.length


class _Masks(GapModel):
    """A masked LM: [MASK] for each token of the word that is not told."""

    def __init__(self, model: FunctionalModel, vocabulary: Vocabulary, *, batch_size: int):
        check_predicts_tokens(model.config)
        self._special = special_tokens(vocabulary)
        super().__init__(model, vocabulary, batch_size=batch_size)

    def gaps(self, given: WordInText) -> list[Gap]:
        """Return a gap for each token, those behind it masked, too."""
        ids = np.array([self._special.cls, *given.ids, self._special.sep], np.int32)
        found = []
        for place in range(given.start + 1, given.stop + 1):  # behind [CLS]
            hidden = ids.copy()
            hidden[place : given.stop + 1] = self._special.mask
            found.append(Gap(hidden, (), place, int(ids[place])))
        return found

    def _batch(self, gaps: Sequence[Gap], length: int) -> dict[str, np.ndarray]:
        tokens_BM, segment_ids_BM = left_aligned([each.read for each in gaps], length)
        return {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}


class _Spans(GapModel):
    """An encoder-decoder: the first sentinel stands for the word, which is written behind it."""

    def __init__(self, model: FunctionalModel, vocabulary: Vocabulary, *, batch_size: int):
        self._sentinel, self._frame = vocabulary.sentinel(0), span_frame(vocabulary)
        super().__init__(model, vocabulary, batch_size=batch_size)

    def gaps(self, given: WordInText) -> list[Gap]:
        """Return a gap for each token, those before it written."""
        hidden = [*given.ids[: given.start], self._sentinel, *given.ids[given.stop :]]
        read = np.array([*self._frame.before, *hidden, *self._frame.after], np.int32)
        word = given.word.tolist()
        return [
            Gap(read, (self.config.decoder_start_id, self._sentinel, *word[:place]), place + 1, token)
            for place, token in enumerate(word)
        ]

    def _batch(self, gaps: Sequence[Gap], length: int) -> dict[str, np.ndarray]:
        inputs_BM, encoder_segments_BM = left_aligned([each.read for each in gaps], length)
        written = [np.array(each.written, np.int32) for each in gaps]
        # Few lengths, each of which compiles.
        longest = 1 << (max(map(len, written)) - 1).bit_length()
        outputs_BL, decoder_segments_BL = left_aligned(written, longest)
        return {
            "encoder_input_tokens": inputs_BM,
            "encoder_segment_ids": encoder_segments_BM,
            "decoder_input_tokens": outputs_BL,
            "decoder_segment_ids": decoder_segments_BL,
        }


_MODELS: Mapping[Architecture, Callable[..., GapModel]] = {"encoder_decoder": _Spans, "encoder_only": _Masks}
GAP_MEASURES: Mapping[Architecture, str] = {
    "encoder_decoder": "a word is asked for behind the first sentinel, which stands in its place",
    "encoder_only": "a word is asked for in the place of [MASK], one for each of its tokens",
}
"""How a model is asked, in words."""


def gap_model(model: FunctionalModel, vocabulary: Vocabulary, *, batch_size: int) -> GapModel:
    """Return what asks a model for words.

    Raises:
      ConfigError: if it reads nothing behind a gap or predicts no tokens, or the vocabulary lacks what it is
        asked with.
    """
    kind = _MODELS.get(model.config.architecture)
    if kind is None:
        raise ConfigError(
            "a decoder-only model reads nothing behind a gap, so that it fills none; give a masked LM or an "
            "encoder-decoder, or measure this one by --minimal-pairs"
        )
    return kind(model, vocabulary, batch_size=batch_size)

"""Which of two sentences a model finds more probable: minimal pairs, as of BLiMP (Warstadt et al., 2020).

A decoder-only model gives a sentence its log-likelihood. One that reads both sides gives it a pseudo-log-
likelihood (Salazar et al., 2020): the sum over its tokens of the log-probability of each, given all others. A
masked LM is asked for a token behind [MASK], an encoder-decoder as span corruption asks it: the first
sentinel stands in its place, and the answer is the sentinel and the token.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.framed_inputs import NUM_FRAMING
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, buckets
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.models.config import Architecture, ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.training.logit_statistics import logit_statistics

SentenceScorer = Callable[[Tree, Sequence[np.ndarray]], list[float]]
"""From parameters and sentences' ids to the (pseudo-)log-likelihood of each, in nats."""


class Hidden(NamedTuple):
    """A sentence with one of its tokens hidden."""

    ids: np.ndarray
    place: int
    token: int


_Made = TypeVar("_Made")


class HiddenTokens(Sequence[_Made]):
    """Each token of each sentence, hidden in turn, and what is made of that when it is asked for.

    All at once they would be as many copies of a sentence as it has tokens.

    Args:
      sentences: ids of each, one at least.
      mask: stands in a token's place.
      make: makes something of each.

    Attributes:
      lengths: of the sentence of each.
    """

    def __init__(self, sentences: Sequence[np.ndarray], mask: int, make: Callable[[Hidden], _Made]) -> None:
        self._sentences, self._mask, self._make = sentences, mask, make
        lengths = np.array([len(ids) for ids in sentences])
        self._owners: np.ndarray = np.repeat(np.arange(len(sentences)), lengths)
        self._places = np.concatenate([np.arange(length) for length in lengths])
        self.lengths = lengths[self._owners]

    def __len__(self) -> int:
        return len(self._owners)

    def __getitem__(self, number: Any) -> Any:
        """Return what is made of one of them."""
        hidden, place = self._sentences[int(self._owners[number])].copy(), int(self._places[number])
        token, hidden[place] = int(hidden[place]), self._mask
        return self._make(Hidden(hidden, place, token))

    def summed(self, values: np.ndarray) -> list[float]:
        """Return the sum over each sentence of a value of each of its tokens."""
        return np.bincount(self._owners, values, minlength=len(self._sentences)).tolist()


def span_frame(vocabulary: Vocabulary) -> Frame:
    """Return what stands around a text whose spans are asked for.

    Raises:
      ConfigError: if the vocabulary has no end.
    """
    return vocabulary.own_frame or Frame(
        after=(vocabulary.special_id("eos", needed_for="the end of what an encoder reads"),)
    )


def check_predicts_tokens(config: ModelConfig) -> None:
    """Check that a model that reads both sides has a head for tokens.

    Raises:
      ConfigError: if it has another one.
    """
    if not config.predicts_tokens:
        raise ConfigError(
            f"the model has head={config.head!r}, which predicts no token, so that none has a likelihood; "
            "give a masked LM, such as the run that it was fine-tuned from"
        )


def _by_continuation(model: FunctionalModel, vocabulary: Vocabulary, batch_size: int) -> SentenceScorer:
    """Score a sentence as the beginning of a document."""
    before = vocabulary.prompt_prefix or (
        vocabulary.special_id("eos", needed_for="what a sentence stands behind"),
    )
    scorer = TargetScorer(model, batch_size=batch_size)

    def score(params: Tree, sentences: Sequence[np.ndarray]) -> list[float]:
        given = [GivenTarget(before, ids) for ids in sentences]
        return [each.log_likelihood for each in scorer.scores(params, given)]

    return score


def _by_spans(model: FunctionalModel, vocabulary: Vocabulary, batch_size: int) -> SentenceScorer:
    """Score each token as a span of one that is corrupted."""
    sentinel, frame = vocabulary.sentinel(0), span_frame(vocabulary)
    scorer = TargetScorer(model, batch_size=batch_size)

    def given(each: Hidden) -> GivenTarget:
        return GivenTarget(np.array([*frame.before, *each.ids, *frame.after]), (sentinel, each.token))

    def score(params: Tree, sentences: Sequence[np.ndarray]) -> list[float]:
        hidden = HiddenTokens(sentences, sentinel, given)
        found = np.zeros(len(hidden))
        for number, each in scorer(params, hidden):
            found[number] = each.log_probs[1]
        return hidden.summed(found)

    return score


def _by_masks(model: FunctionalModel, vocabulary: Vocabulary, batch_size: int) -> SentenceScorer:
    """Score each token behind [MASK]."""
    check_predicts_tokens(model.config)
    special = special_tokens(vocabulary)
    most = model.config.position_limit or UNBOUNDED

    @jax.jit
    def log_probs(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array, wanted_BM: jax.Array):
        batch = {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}
        logits = model.bind(params).outputs(batch)["tokens"]
        found = logit_statistics(logits, jnp.maximum(wanted_BM, 0), num_chunks=None)
        return jnp.sum((found.target - found.log_z) * (wanted_BM >= 0), axis=1)

    def batches(hidden: "HiddenTokens[Hidden]") -> Iterator[tuple[list[int], list[np.ndarray]]]:
        lengths = (hidden.lengths + NUM_FRAMING).tolist()
        model.config.check_length(max(lengths))
        for bucket in buckets(lengths, batch_size=batch_size, most=most):
            numbers = list(bucket.numbers)
            filled_up = numbers + numbers[:1] * (batch_size - len(numbers))
            asked = [hidden[number] for number in filled_up]
            rows = [np.array([special.cls, *each.ids, special.sep], np.int32) for each in asked]
            tokens_BM, segment_ids_BM = left_aligned(rows, bucket.length)
            wanted_BM = np.full(tokens_BM.shape, -1, np.int32)
            for row, each in enumerate(asked):
                wanted_BM[row, each.place + 1] = each.token  # behind [CLS]
            yield numbers, [tokens_BM, segment_ids_BM, wanted_BM]

    def score(params: Tree, sentences: Sequence[np.ndarray]) -> list[float]:
        hidden = HiddenTokens(sentences, special.mask, lambda each: each)
        found = np.zeros(len(hidden))
        for numbers, arrays in batches(hidden):
            found[numbers] = np.asarray(log_probs(params, *arrays))[: len(numbers)]
        return hidden.summed(found)

    return score


_SCORERS: Mapping[Architecture, Callable[[FunctionalModel, Vocabulary, int], SentenceScorer]] = {
    "decoder_only": _by_continuation,
    "encoder_decoder": _by_spans,
    "encoder_only": _by_masks,
}
MEASURES: Mapping[Architecture, str] = {
    "decoder_only": "log-likelihood at the beginning of a document",
    "encoder_decoder": "pseudo-log-likelihood: each token asked for behind the first sentinel",
    "encoder_only": "pseudo-log-likelihood: each token asked for behind [MASK]",
}
"""What a sentence's score is, in words."""


def sentence_scorer(model: FunctionalModel, vocabulary: Vocabulary, *, batch_size: int) -> SentenceScorer:
    """Return the function that scores sentences of one or more tokens.

    Raises:
      ConfigError: if the model predicts no tokens, or the vocabulary lacks what it is asked with.
    """
    return _SCORERS[model.config.architecture](model, vocabulary, batch_size)

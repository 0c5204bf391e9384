"""Which of two sentences a model finds more probable: minimal pairs, as of BLiMP (Warstadt et al., 2020).

A decoder-only model gives a sentence its log-likelihood. One that reads both sides gives it a pseudo-log-
likelihood (Salazar et al., 2020): the sum over its tokens of the log-probability of each, given all others. A
masked LM is asked for a token behind [MASK], an encoder-decoder as span corruption asks it: the first
sentinel stands in its place, and the answer is the sentinel and the token.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, buckets
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.models.config import Architecture
from t5lite.models.functional import FunctionalModel
from t5lite.training.logit_statistics import logit_statistics

SentenceScorer = Callable[[Tree, Sequence[np.ndarray]], list[float]]
"""From parameters and sentences' ids to the (pseudo-)log-likelihood of each, in nats."""


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
    sentinel = vocabulary.sentinel(0)
    frame = vocabulary.own_frame or Frame(
        after=(vocabulary.special_id("eos", needed_for="the end of what an encoder reads"),)
    )
    scorer = TargetScorer(model, batch_size=batch_size)

    def score(params: Tree, sentences: Sequence[np.ndarray]) -> list[float]:
        asked = [
            (number, GivenTarget([*frame.before, *hidden, *frame.after], [sentinel, token]))
            for number, ids in enumerate(sentences)
            for hidden, token in _each_hidden(ids, sentinel)
        ]
        found = scorer.scores(params, [given for _, given in asked])
        log_probs = [each.log_probs[1] for each in found]
        return _summed([number for number, _ in asked], log_probs, len(sentences))

    return score


def _by_masks(model: FunctionalModel, vocabulary: Vocabulary, batch_size: int) -> SentenceScorer:
    """Score each token behind [MASK]."""
    if not model.config.predicts_tokens:
        raise ConfigError(
            f"the model has head={model.config.head!r}, which predicts no token, so that a sentence has no "
            "likelihood; give a masked LM, such as the run that it was fine-tuned from"
        )
    special = special_tokens(vocabulary)
    most = model.config.position_limit or UNBOUNDED

    @jax.jit
    def log_probs(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array, wanted_BM: jax.Array):
        batch = {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}
        logits = model.bind(params).outputs(batch)["tokens"]
        found = logit_statistics(logits, jnp.maximum(wanted_BM, 0), num_chunks=None)
        return jnp.sum((found.target - found.log_z) * (wanted_BM >= 0), axis=1)

    def batches(rows: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> Iterator[tuple[list[int], list]]:
        for bucket in buckets([len(row) for row in rows], batch_size=batch_size, most=most):
            numbers = list(bucket.numbers)
            filled_up = numbers + numbers[:1] * (batch_size - len(numbers))
            tokens_BM, segment_ids_BM = left_aligned([rows[number] for number in filled_up], bucket.length)
            wanted_BM = np.full(tokens_BM.shape, -1, np.int32)
            for row, number in enumerate(filled_up):
                wanted_BM[row, : len(wanted[number])] = wanted[number]
            yield numbers, [tokens_BM, segment_ids_BM, wanted_BM]

    def score(params: Tree, sentences: Sequence[np.ndarray]) -> list[float]:
        owners, rows, wanted = [], [], []
        for number, ids in enumerate(sentences):
            for place, (hidden, token) in enumerate(_each_hidden(ids, special.mask)):
                owners.append(number)
                rows.append(np.array([special.cls, *hidden, special.sep], np.int32))
                wanted.append(np.where(np.arange(len(ids) + 2) == place + 1, token, -1))
        model.config.check_length(max(map(len, rows)))
        found = np.zeros(len(rows))
        for numbers, arrays in batches(rows, wanted):
            found[numbers] = np.asarray(log_probs(params, *arrays))[: len(numbers)]
        return _summed(owners, found, len(sentences))

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


def _each_hidden(ids: np.ndarray, mask: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the ids with one of them hidden, and that one."""
    for place, token in enumerate(ids.tolist()):
        hidden = ids.copy()
        hidden[place] = mask
        yield hidden, token


def _summed(owners: Sequence[int], values: Sequence[float] | np.ndarray, count: int) -> list[float]:
    return np.bincount(owners, np.asarray(values, np.float64), minlength=count).tolist()

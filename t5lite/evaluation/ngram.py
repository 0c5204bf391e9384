"""Unigram and bigram cross-entropies of held-out text: what a model must beat to have learnt anything.

A loss in nats per token means little by itself, because it depends on the vocabulary and the text. The
unigram model knows only how frequent each token is; the bigram model also knows the token before. Both
are counted on the training stream and scored on the held-out stream, token for token.
"""

import numpy as np

from t5lite.core.errors import DataError


def unigram_probabilities(train_tokens: np.ndarray, *, vocab_size: int, add_k: float = 1.0) -> np.ndarray:
    """Return the add-k smoothed unigram distribution of ``train_tokens``.

    Args:
      train_tokens: integer ids, any shape.
      vocab_size: size of the distribution; ids are in ``[0, vocab_size)``.
      add_k: pseudo-count of every id, above 0 so that an unseen id has a finite cross-entropy.

    Returns:
      float64 ``[vocab_size]``, summing to 1.

    Raises:
      DataError: for an id outside the vocabulary, or ``add_k`` not above 0.
    """
    if add_k <= 0:
        raise DataError(f"add_k={add_k} must be above 0: an unseen token would cost infinitely many nats")
    tokens = _checked(train_tokens, vocab_size, "training")
    counts = np.bincount(tokens, minlength=vocab_size) + add_k
    return counts / counts.sum()


def unigram_cross_entropy(
    train_tokens: np.ndarray, heldout_tokens: np.ndarray, *, vocab_size: int, add_k: float = 1.0
) -> float:
    """Return the mean of ``-log P(token)`` over the held-out tokens, in nats.

    Raises:
      DataError: for an empty stream, an id outside the vocabulary, or ``add_k`` not above 0.
    """
    probability_V = unigram_probabilities(train_tokens, vocab_size=vocab_size, add_k=add_k)
    return float(-np.log(probability_V[_checked(heldout_tokens, vocab_size, "held-out")]).mean())


def bigram_cross_entropy(
    train_tokens: np.ndarray, heldout_tokens: np.ndarray, *, vocab_size: int, add_k: float = 1.0
) -> float:
    """Return the mean of ``-log P(token | token before)`` over the held-out tokens, in nats.

    The bigram is interpolated with the add-k unigram by Witten and Bell's (1991) weights, which have
    nothing to tune: after a context ``v`` seen ``c(v)`` times with ``t(v)`` distinct successors,
    ``P(w | v) = (c(v, w) + t(v) P(w)) / (c(v) + t(v))``; after an unseen context it is ``P(w)``. The first
    held-out token has no context and is scored by the unigram, so that both models score the same tokens.
    Pairs that straddle two documents of the stream count like any other.

    Raises:
      DataError: for an empty stream, an id outside the vocabulary, or ``add_k`` not above 0.
    """
    unigram_V = unigram_probabilities(train_tokens, vocab_size=vocab_size, add_k=add_k)
    train = _checked(train_tokens, vocab_size, "training")
    heldout = _checked(heldout_tokens, vocab_size, "held-out")

    # A pair is one integer, so that counting pairs is one sort and looking them up one binary search.
    pairs, pair_counts = np.unique(train[:-1] * vocab_size + train[1:], return_counts=True)
    contexts = pairs // vocab_size
    context_count_V = np.bincount(contexts, weights=pair_counts, minlength=vocab_size)
    num_successors_V = np.bincount(contexts, minlength=vocab_size)

    before, after = heldout[:-1], heldout[1:]
    seen = _counts_of(before * vocab_size + after, pairs, pair_counts)
    numerator = seen + num_successors_V[before] * unigram_V[after]
    denominator = context_count_V[before] + num_successors_V[before]
    known = denominator > 0
    probability = np.where(known, numerator / np.where(known, denominator, 1), unigram_V[after])
    log_likelihood = np.log(unigram_V[heldout[0]]) + np.log(probability).sum()
    return float(-log_likelihood / heldout.size)


def _counts_of(wanted: np.ndarray, sorted_keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the count of each wanted key, 0 where it is not among ``sorted_keys``."""
    if sorted_keys.size == 0:
        return np.zeros(wanted.shape, np.int64)
    position = np.minimum(np.searchsorted(sorted_keys, wanted), sorted_keys.size - 1)
    return np.where(sorted_keys[position] == wanted, counts[position], 0)


def _checked(tokens: np.ndarray, vocab_size: int, stream: str) -> np.ndarray:
    """Return the ids as a flat int64 array, after checking that there are some and that they fit."""
    flat = np.asarray(tokens).reshape(-1).astype(np.int64)
    if flat.size == 0:
        raise DataError(f"the {stream} token stream is empty; a cross-entropy needs at least one token")
    if flat.min() < 0 or flat.max() >= vocab_size:
        worst = int(flat.max() if flat.max() >= vocab_size else flat.min())
        raise DataError(
            f"token id {worst} of the {stream} stream is outside [0, {vocab_size}); "
            "the stream belongs to another vocabulary"
        )
    return flat

"""BERT's sentence pairs (Devlin et al. 2019): does B follow A in its document, or is it from another one?

    chunk 7      the man went to | the store to buy milk        label 0 (next), 1 (random)
    chunk 912    penguins are    | flightless birds
    as they are  the man went to | the store to buy milk        0
    exchanged    the man went to | flightless birds             1

Each chunk has a partner, another one each epoch, with which it shares the place where A ends and B begins.
By a coin the two exchange their Bs. So half the pairs are random ones, and still every token of the store is
seen once an epoch. Where B begins there is no document's edge. Partners from one document, or without a
common place for the split, stay as they are and have no label (-1); that is rare where documents are many
and not all shorter than a few tokens.

Deviations from BERT: the sentences are stretches of text of any length, cut between tokens and not at full
stops, and may hold more documents than one, apart by [SEP].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from t5lite.core.batch_fields import NO_LABEL
from t5lite.data.indexed_random import derive_subkey, distinct_words, random_below, random_bits

NEXT, RANDOM = 0, 1


class SentencePairs(NamedTuple):
    """Chunks of A and B."""

    tokens_BN: np.ndarray
    """int32; A, and B right behind it."""
    splits_B: np.ndarray
    """int64; where B begins."""
    labels_B: np.ndarray
    """int32; whether B is the next, a random one, or unlabelled."""


def pair_sentences(
    indices: np.ndarray,
    epochs: np.ndarray,
    *,
    num_examples: int,
    key: np.ndarray,
    separator: int,
    read: Callable[[np.ndarray], np.ndarray],
    documents_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> SentencePairs:
    """Return the pairs of chunks ``indices`` in passes ``epochs``, a function of these and the key alone.

    Args:
      indices: [B], numbers of chunks.
      epochs: [B], pass over the data of each.
      num_examples: chunks in all.
      key: of the noise.
      separator: id between documents.
      read: chunks by their numbers, [B, N].
      documents_at: (numbers of chunks, places within them) to the documents' numbers.
    """
    partners = _partners(indices, epochs, num_examples=num_examples, key=key)
    tokens_BN, others_BN = read(indices), read(partners)
    num_tokens = tokens_BN.shape[1]
    pair_numbers = epochs * num_examples + np.minimum(indices, partners)
    bits = random_bits(derive_subkey(key, 2), pair_numbers, num_tokens)
    inner = tokens_BN != separator
    inner &= others_BN != separator
    possible = inner[:, :-1] & inner[:, 1:]
    words = np.where(possible, distinct_words(bits[:, 1:]), np.iinfo(np.uint64).max)
    has_split = possible.any(axis=1)
    splits_B = np.where(has_split, 1 + np.argmin(words, axis=1), num_tokens // 2)
    apart = documents_at(indices, splits_B) != documents_at(partners, splits_B)
    exchanged = has_split & apart & (bits[:, 0] >> np.uint64(63) == 1)
    is_second = np.arange(num_tokens)[None, :] >= splits_B[:, None]
    labels_B = np.where(has_split & apart, np.where(exchanged, RANDOM, NEXT), NO_LABEL)
    return SentencePairs(
        np.where(is_second & exchanged[:, None], others_BN, tokens_BN), splits_B, labels_B.astype(np.int32)
    )


def _partners(indices: np.ndarray, epochs: np.ndarray, *, num_examples: int, key: np.ndarray) -> np.ndarray:
    """Return the number of each chunk's partner, whose partner it is: a reflection about a random place."""
    centres = random_below(random_bits(derive_subkey(key, 1), epochs, 1)[:, 0], num_examples)
    return (centres - indices) % num_examples

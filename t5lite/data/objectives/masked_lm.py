"""BERT's masked language model (Devlin et al. 2019): some tokens are hidden, the encoder names them.

    raw      Thank you for inviting me to your party
    inputs   [CLS] Thank [MASK] for inviting me to tree party [SEP]
    targets  [CLS] Thank you    for inviting me to your party [SEP]
    weights  0     0     1      0   0        0  0  1    0     0

Deviations from BERT: rows are full chunks of the stream with [SEP] after every document (RoBERTa's
FULL-SENTENCES), so all token types are 0 and there is no next-sentence label; the noise is drawn anew each
epoch (BERT stored ten versions); random ids leave out sentinels.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import random_bits
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.vocabulary import Vocabulary

_INDEX_BITS = np.uint64(20)  # chunks of up to a million tokens
_HALF_BITS = np.uint64(32)
_LOWER_HALF = np.uint64((1 << 32) - 1)
_NUM_FRAMING = 2


class SpecialTokens(NamedTuple):
    """The ids that frame and mask a sequence."""

    mask: int
    cls: int
    sep: int


def special_tokens(vocabulary: Vocabulary) -> SpecialTokens:
    """Return [MASK], [CLS] and [SEP], or what stands for them.

    A SentencePiece vocabulary of T5's kind has none of them: its last sentinel stands for [MASK], the last
    but one for [CLS], and EOS for [SEP].

    Raises:
      ConfigError: if there is nothing to stand for them.
    """
    mask, cls, sep = vocabulary.mask_id, vocabulary.cls_id, vocabulary.sep_id
    wanted = (mask is None) + (cls is None)
    if wanted > vocabulary.extra_ids or (sep is None and vocabulary.eos_id is None):
        raise ConfigError(
            f"{vocabulary.path} has no [MASK], [CLS] and [SEP], and no sentinels to stand for them "
            f"(extra_ids={vocabulary.extra_ids}); prepare the text with extra_ids of 2 or more, or with a "
            "BERT tokenizer"
        )
    last = vocabulary.extra_ids - 1
    if mask is None:
        mask, last = vocabulary.sentinel(last), last - 1
    if cls is None:
        cls = vocabulary.sentinel(last)
    sep = vocabulary.eos_id if sep is None else sep
    assert sep is not None
    return SpecialTokens(mask, cls, sep)


@dataclass(frozen=True, kw_only=True)
class MaskedLM:
    """Asks for tokens that are masked, replaced or left as they are; BERT's shares by default."""

    mask_probability: float = 0.15
    """Share of the tokens that are asked for, strictly between 0 and 1; separators never are."""
    mask_share: float = 0.8
    """Of the tokens asked for, the share that becomes [MASK]."""
    random_share: float = 0.1
    """Of the tokens asked for, the share that becomes a random id; the rest stays as it is."""

    architectures: ClassVar[tuple[str, ...]] = ("encoder_only",)
    heads: ClassVar[tuple[str, ...]] = ("masked_lm",)

    def __post_init__(self) -> None:
        if not 0 < self.mask_probability < 1:
            raise ConfigError(
                f"mask_probability={self.mask_probability} must lie strictly between 0 and 1; BERT uses 0.15"
            )
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise ConfigError(
                f"mask_share={self.mask_share} and random_share={self.random_share} must not be negative and "
                "add up to at most 1; BERT uses 0.8 and 0.1"
            )

    def layout(self, inputs_length: int) -> ChunkLayout:
        """Return the layout: chunks of ``inputs_length`` less [CLS] and [SEP].

        Raises:
          ConfigError: if ``inputs_length`` leaves no token between them.
        """
        if inputs_length <= _NUM_FRAMING:
            raise ConfigError(f"inputs_length={inputs_length} must be at least 3: [CLS], a token, [SEP]")
        tokens = inputs_length - _NUM_FRAMING
        return ChunkLayout(tokens, tokens, inputs_length, 0)

    def separator(self, vocabulary: Vocabulary) -> int | None:
        """Return [SEP]."""
        return special_tokens(vocabulary).sep

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int) -> None:
        """Check that there are ids to mask and frame with.

        Raises:
          ConfigError: if there are not.
        """
        del inputs_length
        special_tokens(vocabulary)

    def fields(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> dict[str, np.ndarray]:
        """Return the encoder's fields; absent token types are 0."""
        special = special_tokens(vocabulary)
        tokens_BN = tokens_BN.astype(np.int32, copy=False)
        num_tokens = tokens_BN.shape[1]
        choosing_BN, bits_BN = np.split(random_bits(key, indices, 2 * num_tokens), 2, axis=1)
        chosen_BN = self.choose(choosing_BN, tokens_BN != special.sep)
        # The upper half of a word says what becomes of a chosen token, the lower half which id.
        share_BN = (bits_BN >> _HALF_BITS) / float(1 << 32)
        random_BN = (bits_BN & _LOWER_HALF) % np.uint64(vocabulary.lowest_sentinel_id)
        masked_BN = chosen_BN & (share_BN < self.mask_share)
        replaced_BN = chosen_BN & ~masked_BN & (share_BN < self.mask_share + self.random_share)
        inputs_BN = np.where(masked_BN, special.mask, np.where(replaced_BN, random_BN, tokens_BN))
        weights_BM = np.zeros((len(tokens_BN), num_tokens + _NUM_FRAMING), np.float32)
        weights_BM[:, 1:-1] = chosen_BN
        return {
            "encoder_input_tokens": _framed(inputs_BN, special),
            "encoder_target_tokens": _framed(tokens_BN, special),
            "encoder_loss_weights": weights_BM,
        }

    def choose(self, bits_BN: np.ndarray, candidates_BN: np.ndarray) -> np.ndarray:
        """Return bool [B, N]: of each row's candidates a random share of ``mask_probability``, rounded.

        At least one is chosen in a row that has a candidate. ``bits_BN`` are random uint64.
        """
        # The place's number in the low bits makes the words distinct, so exactly so many are chosen.
        places = np.arange(bits_BN.shape[1], dtype=np.uint64)[None, :]
        words = (bits_BN >> _INDEX_BITS) << _INDEX_BITS | places
        words = np.where(candidates_BN, words, np.iinfo(np.uint64).max)
        num_candidates = candidates_BN.sum(axis=1)
        num_chosen = np.round(num_candidates * self.mask_probability).astype(np.int64)
        num_chosen = np.minimum(np.maximum(num_chosen, 1), num_candidates)
        order = np.sort(words, axis=1)
        threshold = np.take_along_axis(order, np.maximum(num_chosen - 1, 0)[:, None], axis=1)
        return (words <= threshold) & candidates_BN


def _framed(tokens_BN: np.ndarray, special: SpecialTokens) -> np.ndarray:
    """Return int32 [B, N + 2]: [CLS], the tokens, [SEP]."""
    framed_BM = np.full((len(tokens_BN), tokens_BN.shape[1] + _NUM_FRAMING), special.cls, np.int32)
    framed_BM[:, 1:-1] = tokens_BN
    framed_BM[:, -1] = special.sep
    return framed_BM

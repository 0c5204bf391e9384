"""BERT's masked language model (Devlin et al. 2019): some tokens are hidden, the encoder names them.

    raw      Thank you for inviting me to your party
    inputs   [CLS] Thank [MASK] for inviting me to tree party [SEP]
    targets  [CLS] Thank you    for inviting me to your party [SEP]
    weights  0     0     1      0   0        0  0  1    0     0

Deviations from BERT: rows are full chunks of the stream with [SEP] after every document (RoBERTa's
FULL-SENTENCES); token types and next-sentence labels are there with ``next_sentence`` alone; the noise is
drawn anew each epoch (BERT stored ten versions); random ids leave out sentinels.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.architectures import SIDES_OF, writes
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import distinct_words, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.objectives.next_sentence import SentencePairs
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import SpecialTokens, special_tokens

_HALF_BITS = np.uint64(32)
_LOWER_HALF = np.uint64((1 << 32) - 1)
_NUM_FRAMING = 2
_NOTHING = SpecialTokens(mask=0, cls=0, sep=0)
_HEADS = {False: "masked_lm", True: "pretraining"}
"""The head that it has labels for, by ``next_sentence``."""


@dataclass(frozen=True, kw_only=True)
class MaskedLM(BaseObjective):
    """Asks for tokens that are masked, replaced or left as they are; BERT's shares by default."""

    mask_probability: float = 0.15
    """Share of the tokens that are asked for, strictly between 0 and 1; separators never are."""
    mask_share: float = 0.8
    """Of the tokens asked for, the share that becomes [MASK]."""
    random_share: float = 0.1
    """Of the tokens asked for, the share that becomes a random id; the rest stays as it is."""

    whole_words: bool = False
    """Ask for all tokens of a word or for none (BERT's whole word masking)."""
    next_sentence: bool = False
    """Rows are [CLS] A [SEP] B [SEP] with token types and a label: is B what follows A, or from elsewhere
    (half of them)? For head="pretraining"."""

    architectures: ClassVar[tuple[str, ...]] = tuple(each for each in SIDES_OF if not writes(each))

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

    def check_head(self, head: str) -> None:
        """Check that there are labels for a head: of tokens, and of a pair where there are pairs."""
        if head == _HEADS[self.next_sentence]:
            return
        remedy = f", or set data.objective.next_sentence={not self.next_sentence}"
        raise ConfigError(
            f"data.objective=MaskedLM has no labels for model.head={head!r}; use head="
            f"{_HEADS[self.next_sentence]!r}{remedy * (head in _HEADS.values())}"
        )

    @property
    def pairs_sentences(self) -> bool:
        """As ``next_sentence`` says."""
        return self.next_sentence

    @property
    def _num_framing(self) -> int:
        return _NUM_FRAMING + self.next_sentence

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: chunks of ``inputs_length`` less [CLS] and each [SEP] of the frame.

        Raises:
          ConfigError: if ``inputs_length`` leaves no token between them.
        """
        del architecture
        # Each sentence needs a token.
        least = 2 * self._num_framing - 1 if self.next_sentence else self._num_framing + 1
        if inputs_length < least:
            frame = "[CLS], A, [SEP], B, [SEP]" if self.next_sentence else "[CLS], a token, [SEP]"
            raise ConfigError(f"inputs_length={inputs_length} must be at least {least}: {frame}")
        tokens = inputs_length - self._num_framing
        return ChunkLayout(tokens, tokens, inputs_length, 0)

    def separator(self, vocabulary: Vocabulary, architecture: str) -> int | None:
        """Return [SEP]."""
        del architecture
        return special_tokens(vocabulary).sep

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there are ids to mask and frame with.

        Raises:
          ConfigError: if there are not.
        """
        del inputs_length, architecture
        special_tokens(vocabulary)

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the encoder's fields; of pairs of sentences with what tells them apart, and their label."""
        del layout
        names = ("encoder_input_tokens", "encoder_target_tokens", "encoder_loss_weights")
        return (*names, "encoder_token_types", "sequence_labels") if self.next_sentence else names

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the encoder's fields of single stretches of text; absent token types are 0."""
        del layout
        special = special_tokens(vocabulary)
        tokens_BN = tokens_BN.astype(np.int32, copy=False)
        inputs_BN, chosen_BN = self._masked(tokens_BN, key=key, indices=indices, vocabulary=vocabulary)
        return {
            "encoder_input_tokens": _framed(inputs_BN, special),
            "encoder_target_tokens": _framed(tokens_BN, special),
            "encoder_loss_weights": np.pad(chosen_BN.astype(np.float32), ((0, 0), (1, 1))),
        }

    def pair_fields(
        self, pairs: SentencePairs, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> dict[str, np.ndarray]:
        """Return the encoder's fields of sentence pairs, with token types and labels."""
        special, splits_B = special_tokens(vocabulary), pairs.splits_B
        inputs_BN, chosen_BN = self._masked(pairs.tokens_BN, key=key, indices=indices, vocabulary=vocabulary)
        num_positions = inputs_BN.shape[1] + self._num_framing
        is_second = np.arange(num_positions)[None, :] >= splits_B[:, None] + 2
        return {
            "encoder_input_tokens": _framed_pairs(inputs_BN, splits_B, special),
            "encoder_target_tokens": _framed_pairs(pairs.tokens_BN, splits_B, special),
            "encoder_loss_weights": _framed_pairs(chosen_BN, splits_B, _NOTHING).astype(np.float32),
            "encoder_token_types": is_second.astype(np.int32),
            "sequence_labels": pairs.labels_B,
        }

    def _masked(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the corrupted tokens, and bool [B, N]: which of them are asked for."""
        special = special_tokens(vocabulary)
        choosing_BN, bits_BN = np.split(random_bits(key, indices, 2 * tokens_BN.shape[1]), 2, axis=1)
        candidates_BN = tokens_BN != special.sep
        if self.whole_words:
            starts_BN = ~vocabulary.word_continuations[tokens_BN]
            chosen_BN = self.choose_words(choosing_BN, candidates_BN, starts_BN)
        else:
            chosen_BN = self.choose(choosing_BN, candidates_BN)
        # The upper half of a word says what becomes of a chosen token, the lower half which id.
        share_BN = (bits_BN >> _HALF_BITS) / float(1 << 32)
        random_BN = vocabulary.text_ids[(bits_BN & _LOWER_HALF) % np.uint64(len(vocabulary.text_ids))]
        masked_BN = chosen_BN & (share_BN < self.mask_share)
        replaced_BN = chosen_BN & ~masked_BN & (share_BN < self.mask_share + self.random_share)
        inputs_BN = np.where(masked_BN, special.mask, np.where(replaced_BN, random_BN, tokens_BN))
        return inputs_BN, chosen_BN

    def choose(self, bits_BN: np.ndarray, candidates_BN: np.ndarray) -> np.ndarray:
        """Return bool [B, N]: of each row's candidates a random share of ``mask_probability``, rounded.

        At least one is chosen in a row that has a candidate. ``bits_BN`` are random uint64.
        """
        words = np.where(candidates_BN, distinct_words(bits_BN), np.iinfo(np.uint64).max)
        order = np.sort(words, axis=1)
        last_B = np.maximum(self._num_chosen(candidates_BN) - 1, 0)
        threshold = np.take_along_axis(order, last_B[:, None], axis=1)
        return (words <= threshold) & candidates_BN

    def choose_words(
        self, bits_BN: np.ndarray, candidates_BN: np.ndarray, starts_BN: np.ndarray
    ) -> np.ndarray:
        """Return bool [B, N]: whole words, in random order as many as come nearest to the share.

        Args:
          bits_BN: random uint64.
          candidates_BN: what may be chosen; anything else ends a word.
          starts_BN: where a word may begin; it always does at the edges.
        """
        num_tokens = bits_BN.shape[1]
        places = np.arange(num_tokens)[None, :]
        starts_BN = starts_BN | ~candidates_BN
        starts_BN[:, 0] = True
        starts_BN[:, 1:] |= ~candidates_BN[:, :-1]
        first_BN = np.maximum.accumulate(np.where(starts_BN, places, 0), axis=1)
        # All tokens of a word have the random number of its first one.
        words = np.where(candidates_BN, distinct_words(bits_BN), np.iinfo(np.uint64).max)
        words = np.take_along_axis(words, first_BN, axis=1)
        order = np.argsort(words, axis=1, kind="stable")
        ranked = np.take_along_axis(words, order, axis=1)
        changes = ranked[:, 1:] != ranked[:, :-1]
        edge = np.ones((len(words), 1), bool)
        begins = np.concatenate([edge, changes], axis=1)
        ends = np.concatenate([changes, edge], axis=1)
        first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
        behind = np.where(ends, places + 1, num_tokens)
        behind = np.minimum.accumulate(behind[:, ::-1], axis=1)[:, ::-1]
        # A word counts if more than half of it lies within the share.
        taken = (first + behind <= 2 * self._num_chosen(candidates_BN)[:, None]) | (first == 0)
        chosen_BN = np.empty_like(taken)
        np.put_along_axis(chosen_BN, order, taken, axis=1)
        return chosen_BN & candidates_BN

    def _num_chosen(self, candidates_BN: np.ndarray) -> np.ndarray:
        """Return int64 [B], the share of each row's candidates, rounded, and at least one if there is any."""
        num_candidates = candidates_BN.sum(axis=1)
        num_chosen = np.round(num_candidates * self.mask_probability).astype(np.int64)
        return np.minimum(np.maximum(num_chosen, 1), num_candidates)


def _framed(tokens_BN: np.ndarray, special: SpecialTokens) -> np.ndarray:
    """Return int32 [B, N + 2]: [CLS], the tokens, [SEP]."""
    framed_BM = np.full((len(tokens_BN), tokens_BN.shape[1] + _NUM_FRAMING), special.cls, np.int32)
    framed_BM[:, 1:-1] = tokens_BN
    framed_BM[:, -1] = special.sep
    return framed_BM


def _framed_pairs(tokens_BN: np.ndarray, splits_B: np.ndarray, special: SpecialTokens) -> np.ndarray:
    """Return int32 [B, N + 3]: [CLS], the tokens before the split, [SEP], those after it, [SEP]."""
    places = np.arange(tokens_BN.shape[1] + _NUM_FRAMING + 1)[None, :]
    middle_B1 = splits_B[:, None] + 1
    sources = np.clip(np.where(places < middle_B1, places - 1, places - 2), 0, tokens_BN.shape[1] - 1)
    framed_BM = np.take_along_axis(tokens_BN.astype(np.int32), sources, axis=1)
    framed_BM[:, 0], framed_BM[:, -1] = special.cls, special.sep
    framed_BM[places == middle_B1] = special.sep
    return framed_BM

"""BERT's masked language model (Devlin et al. 2019): some tokens are hidden, the encoder names them.

    raw      Thank you for inviting me to your party
    inputs   [CLS] Thank [MASK] for inviting me to tree party [SEP]
    targets  [CLS] Thank you    for inviting me to your party [SEP]
    weights  0     0     1      0   0        0  0  1    0     0

Deviations from BERT: rows are full chunks of the stream with [SEP] after every document (RoBERTa's
FULL-SENTENCES), or with ``pack`` several sequences that do not see each other (ModernBERT's unpadded rows);
token types and next-sentence labels are there with ``next_sentence`` alone; the noise is drawn anew each
epoch (BERT stored ten versions); random ids leave out sentinels.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from t5lite.core.architectures import SIDES_OF, writes
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import distinct_words, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.objectives.next_sentence import SentencePairs
from t5lite.data.objectives.packed_sequences import LEAST_TOKENS, PackedSequences
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
    later_mask_probabilities: tuple[tuple[int, float], ...] = ()
    """(examples, share): once so many examples of this source were seen, another share; mmBERT goes from 0.3
    to 0.15 and 0.05. Examples are rows: steps times the batch size, where the source is the only one."""
    heldout_mask_probability: float | None = None
    """Share in evaluations; None is the last one of training. ModernBERT trains at 0.3 and measures at
    0.15."""
    mask_share: float = 0.8
    """Of the tokens asked for, the share that becomes [MASK]."""
    random_share: float = 0.1
    """Of the tokens asked for, the share that becomes a random id; the rest stays as it is."""

    whole_words: bool = False
    """Ask for all tokens of a word or for none (BERT's whole word masking)."""
    pack: bool = False
    """Rows are [CLS] … [SEP] [CLS] … [SEP], each document's piece a sequence that sees only itself; else
    documents follow each other and see all of the row. A row has 4 positions of padding at most."""
    next_sentence: bool = False
    """Rows are [CLS] A [SEP] B [SEP] with token types and a label: is B what follows A, or from elsewhere
    (half of them)? For head="pretraining"."""

    architectures: ClassVar[tuple[str, ...]] = tuple(each for each in SIDES_OF if not writes(each))

    def __post_init__(self) -> None:
        _check_share("mask_probability", self.mask_probability)
        if self.heldout_mask_probability is not None:
            _check_share("heldout_mask_probability", self.heldout_mask_probability)
        for _, share in self.later_mask_probabilities:
            _check_share(f"later_mask_probabilities={self.later_mask_probabilities}: the share", share)
        starts = [0, *(examples for examples, _ in self.later_mask_probabilities)]
        whole = all(type(start) is int for start in starts)
        if not whole or any(later <= earlier for earlier, later in itertools.pairwise(starts)):
            raise ConfigError(
                f"later_mask_probabilities={self.later_mask_probabilities} must begin after 0 examples and "
                "each after the one before, in whole numbers; use e.g. ((1000000, 0.15), (1500000, 0.05))"
            )
        if self.pack and self.next_sentence:
            raise ConfigError(
                "pack=True fills rows with sequences that do not see each other, next_sentence=True with two "
                "that do; set one of them to False"
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
        remedy += " and pack=False" * self.pack
        raise ConfigError(
            f"data.objective=MaskedLM has no labels for model.head={head!r}; use head="
            f"{_HEADS[self.next_sentence]!r}{remedy * (head in _HEADS.values())}"
        )

    @property
    def pairs_sentences(self) -> bool:
        """As ``next_sentence`` says."""
        return self.next_sentence

    def held_out(self) -> Self:
        """Return the objective with the share of evaluations from the first example on."""
        *_, (_, last) = self._phases
        share = last if self.heldout_mask_probability is None else self.heldout_mask_probability
        return dataclasses.replace(self, mask_probability=share, later_mask_probabilities=())

    @property
    def remark(self) -> str | None:
        """The shares by phase and in evaluations, where there is more than one."""
        shares = [f"{self.mask_probability:.3g}"]
        shares += [f"from row {first:,} on {share:.3g}" for first, share in self.later_mask_probabilities]
        if self.held_out() == self:
            return None
        measured = f"{self.held_out().mask_probability:.3g}"
        return f"share of the tokens that is asked for: {', '.join(shares)}; in evaluations {measured}"

    def unreached(self, examples: int) -> str | None:
        """Return which of ``later_mask_probabilities`` begin only after so many examples."""
        beyond = tuple(phase for phase in self.later_mask_probabilities if phase[0] >= examples)
        if not beyond:
            return None
        return (
            f"later_mask_probabilities {beyond} are never reached: the run ends after {examples:,} examples; "
            "train for longer, or let them begin earlier"
        )

    @property
    def _phases(self) -> tuple[tuple[int, float], ...]:
        return (0, self.mask_probability), *self.later_mask_probabilities

    def shares(self, indices: np.ndarray) -> np.ndarray:
        """Return float64 [B]: the share that is asked for of rows ``indices`` of the stream of examples."""
        starts, shares = zip(*self._phases, strict=True)
        return np.array(shares)[np.searchsorted(starts, indices, side="right") - 1]

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
        frame = "[CLS], A, [SEP], B, [SEP]" if self.next_sentence else "[CLS], a token, [SEP]"
        if self.pack:
            least, frame = _NUM_FRAMING + LEAST_TOKENS, "[CLS], a token, [SEP], and two between documents"
        if inputs_length < least:
            raise ConfigError(f"inputs_length={inputs_length} must be at least {least}: {frame}")
        tokens = inputs_length - self._num_framing
        return ChunkLayout(tokens, tokens, inputs_length, 0)

    def separators(self, vocabulary: Vocabulary, architecture: str) -> tuple[int, ...]:
        """Return [SEP], and [CLS] of the next document where it is a sequence of its own."""
        del architecture
        special = special_tokens(vocabulary)
        return (special.sep, special.cls) if self.pack else (special.sep,)

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there are ids to mask and frame with.

        Raises:
          ConfigError: if there are not, or packed sequences would begin as they end.
        """
        del inputs_length, architecture
        special = special_tokens(vocabulary)
        if self.pack and special.cls == special.sep:
            raise ConfigError(
                f"{vocabulary.path} has one id, {special.cls}, for [CLS] and [SEP], so pack=True cannot tell "
                "where a sequence begins; set data.objective.pack=False, or use another vocabulary"
            )

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the encoder's fields, with what tells packed sequences or those of a pair apart."""
        del layout
        names = ("encoder_input_tokens", "encoder_target_tokens", "encoder_loss_weights")
        if self.pack:
            return (*names, "encoder_segment_ids")
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
        """Return the encoder's fields of stretches of text; absent token types are 0."""
        del layout
        special = special_tokens(vocabulary)
        tokens_BN = tokens_BN.astype(np.int32, copy=False)
        inputs_BN, chosen_BN = self._masked(tokens_BN, key=key, indices=indices, vocabulary=vocabulary)
        fields = {
            "encoder_input_tokens": _framed(inputs_BN, special),
            "encoder_target_tokens": _framed(tokens_BN, special),
            "encoder_loss_weights": np.pad(chosen_BN.astype(np.float32), ((0, 0), (1, 1))),
        }
        if not self.pack:
            return fields
        packed = PackedSequences.of(tokens_BN, special)
        moved = {name: packed.moved(field) for name, field in fields.items()}
        return {**moved, "encoder_segment_ids": packed.segment_ids_BL}

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
        if self.pack:
            candidates_BN &= tokens_BN != special.cls
        num_chosen_B = num_chosen(candidates_BN, self.shares(indices))
        if self.whole_words:
            starts_BN = ~vocabulary.word_continuations[tokens_BN]
            chosen_BN = choose_words(choosing_BN, candidates_BN, starts_BN, num_chosen_B)
        else:
            chosen_BN = choose(choosing_BN, candidates_BN, num_chosen_B)
        # The upper half of a word says what becomes of a chosen token, the lower half which id.
        share_BN = (bits_BN >> _HALF_BITS) / float(1 << 32)
        random_BN = vocabulary.text_ids[(bits_BN & _LOWER_HALF) % np.uint64(len(vocabulary.text_ids))]
        masked_BN = chosen_BN & (share_BN < self.mask_share)
        replaced_BN = chosen_BN & ~masked_BN & (share_BN < self.mask_share + self.random_share)
        inputs_BN = np.where(masked_BN, special.mask, np.where(replaced_BN, random_BN, tokens_BN))
        return inputs_BN, chosen_BN


def _check_share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise ConfigError(f"{name}={share} must lie strictly between 0 and 1; BERT uses 0.15")


def choose(bits_BN: np.ndarray, candidates_BN: np.ndarray, num_chosen_B: np.ndarray) -> np.ndarray:
    """Return bool [B, N]: of each row's candidates ``num_chosen_B``; ``bits_BN`` are random uint64."""
    words = np.where(candidates_BN, distinct_words(bits_BN), np.iinfo(np.uint64).max)
    order = np.sort(words, axis=1)
    last_B = np.maximum(num_chosen_B - 1, 0)
    threshold = np.take_along_axis(order, last_B[:, None], axis=1)
    return (words <= threshold) & candidates_BN


def choose_words(
    bits_BN: np.ndarray, candidates_BN: np.ndarray, starts_BN: np.ndarray, num_chosen_B: np.ndarray
) -> np.ndarray:
    """Return bool [B, N]: whole words, in random order as many as come nearest to ``num_chosen_B`` tokens.

    Args:
      bits_BN: random uint64.
      candidates_BN: what may be chosen; anything else ends a word.
      starts_BN: where a word may begin; it always does at the edges.
      num_chosen_B: tokens of each row.
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
    taken = (first + behind <= 2 * num_chosen_B[:, None]) | (first == 0)
    chosen_BN = np.empty_like(taken)
    np.put_along_axis(chosen_BN, order, taken, axis=1)
    return chosen_BN & candidates_BN


def num_chosen(candidates_BN: np.ndarray, shares_B: np.ndarray) -> np.ndarray:
    """Return int64 [B], the share of each row's candidates, rounded, and at least one if there is any."""
    num_candidates = candidates_BN.sum(axis=1)
    num_chosen = np.round(num_candidates * shares_B).astype(np.int64)
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

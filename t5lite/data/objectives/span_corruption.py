"""T5's span corruption: random spans become sentinels, the decoder writes what they hid.

    raw      Thank you for inviting me to your party last week
    inputs   Thank you <0> me to your party <1> EOS
    targets  <0> for inviting <1> last week EOS

Follows ``t5.data.preprocessors`` (``random_spans_helper``, ``random_spans_noise_mask``,
``noise_span_to_unique_sentinel``). Deviations: the randomness is a function of (key, index); sentinels that
the vocabulary lacks are refused, where T5 goes on into ordinary pieces.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.data.indexed_random import random_bits
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.vocabulary import Vocabulary

_INDEX_BITS = 20  # chunks of up to a million tokens


@dataclass(frozen=True, kw_only=True)
class SpanCorruption:
    """Masks random spans of the text; the paper's values by default."""

    noise_density: float = 0.15
    """Share of the raw tokens that is masked, strictly between 0 and 1."""

    mean_span_length: float = 3.0
    """Average number of tokens in a masked span, at least 1."""

    architectures: ClassVar[tuple[str, ...]] = ("encoder_decoder",)
    heads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        if not 0 < self.noise_density < 1:
            raise ConfigError(
                f"noise_density={self.noise_density} must lie strictly between 0 and 1; T5 uses 0.15"
            )
        if not self.mean_span_length >= 1:
            raise ConfigError(f"mean_span_length={self.mean_span_length} must be at least 1; T5 uses 3")

    def counts(self, raw_tokens: int) -> tuple[int, int]:
        """Return (masked tokens, spans) of a chunk of ``raw_tokens``; half-even rounding as in T5."""
        num_noise = min(max(round(raw_tokens * self.noise_density), 1), raw_tokens - 1)
        return num_noise, max(round(num_noise / self.mean_span_length), 1)

    def num_sentinels(self, raw_tokens: int) -> int:
        """Return how many sentinels a chunk of ``raw_tokens`` uses."""
        return self.counts(raw_tokens)[1]

    def lengths(self, raw_tokens: int) -> tuple[int, int]:
        """Return (inputs, targets) lengths, EOS included, of a corrupted chunk of ``raw_tokens``."""
        num_noise, num_spans = self.counts(raw_tokens)
        return raw_tokens - num_noise + num_spans + 1, num_noise + num_spans + 1

    def chunk_length(self, inputs_length: int) -> tuple[int, int]:
        """Return (raw tokens of a chunk, targets length) that fill ``inputs_length`` exactly.

        The raw length is the largest that fits. At density 0.5, T5 takes one token less when that makes the
        targets no longer than the inputs; so does this (512 at 0.5 gives 766 and 512).

        Raises:
          ConfigError: if ``inputs_length`` is too short for these settings.
        """
        raw_tokens = 2
        while self.lengths(raw_tokens + 1)[0] <= inputs_length:
            raw_tokens += 1
        targets_length = self.lengths(raw_tokens)[1]
        if self.noise_density == 0.5 and targets_length > inputs_length:
            shorter = self.lengths(raw_tokens - 1)
            if shorter == (inputs_length, targets_length - 1):
                raw_tokens, targets_length = raw_tokens - 1, shorter[1]
        num_noise, num_spans = self.counts(raw_tokens)
        if self.lengths(raw_tokens)[0] != inputs_length or num_spans > raw_tokens - num_noise:
            raise ConfigError(
                f"inputs_length={inputs_length} cannot be filled with noise_density={self.noise_density}, "
                f"mean_span_length={self.mean_span_length}; use longer inputs, less noise or longer spans"
            )
        return raw_tokens, targets_length

    def layout(self, inputs_length: int) -> ChunkLayout:
        """Return the layout of ``chunk_length``.

        Raises:
          ConfigError: if ``inputs_length`` is too short for these settings.
        """
        raw_tokens, targets_length = self.chunk_length(inputs_length)
        return ChunkLayout(raw_tokens, raw_tokens, inputs_length, targets_length)

    def separator(self, vocabulary: Vocabulary) -> int | None:
        """Return None: T5's documents follow each other without a separator."""
        del vocabulary
        return None

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int) -> None:
        """Check that there is a sentinel for every span, and EOS.

        Raises:
          ConfigError: if there are too few.
        """
        vocabulary.special_id("eos", needed_for="span corruption")
        num_sentinels = self.num_sentinels(self.chunk_length(inputs_length)[0])
        if num_sentinels > vocabulary.extra_ids:
            raise ConfigError(
                f"inputs_length={inputs_length} with this objective uses {num_sentinels} sentinels, "
                f"the vocabulary has extra_ids={vocabulary.extra_ids}; prepare the text with more, or "
                "use shorter inputs, less noise or longer spans"
            )

    def fields(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> dict[str, np.ndarray]:
        """Return the fields of both sides; the decoder's inputs start with 0, as in T5.

        Args:
          tokens_BN: raw tokens.
          key: of ``indexed_random.derive_key``.
          indices: [B], what the noise of each row depends on besides the key.
          vocabulary: has ``check_vocabulary``'s ids.
        """
        mask_BN = self.noise_mask(tokens_BN.shape[1], key=key, indices=indices)
        eos_id = vocabulary.special_id("eos", needed_for="span corruption")
        inputs_BM, targets_BL = corrupt(
            tokens_BN, mask_BN, first_sentinel=vocabulary.sentinel(0), eos_id=eos_id
        )
        shifted_BL = np.full_like(targets_BL, PAD_ID)
        shifted_BL[:, 1:] = targets_BL[:, :-1]
        return {
            "encoder_input_tokens": inputs_BM,
            "decoder_input_tokens": shifted_BL,
            "decoder_target_tokens": targets_BL,
            "decoder_loss_weights": np.ones(targets_BL.shape, np.float32),
        }

    def noise_mask(self, raw_tokens: int, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return bool [len(indices), raw_tokens], true where masked.

        Masked and kept spans alternate, beginning with a kept and ending with a masked one; both kinds of
        lengths are uniform over all compositions.
        """
        num_noise, num_spans = self.counts(raw_tokens)
        bits = random_bits(key, indices, raw_tokens - 2)
        masked = random_composition(bits[:, : num_noise - 1], num_noise, num_spans)
        kept = random_composition(bits[:, num_noise - 1 :], raw_tokens - num_noise, num_spans)
        lengths = np.stack([kept, masked], axis=2).reshape(-1)
        is_masked = np.tile([False, True], len(indices) * num_spans)
        return np.repeat(is_masked, lengths).reshape(len(indices), raw_tokens)


def random_composition(bits: np.ndarray, num_items: int, num_parts: int) -> np.ndarray:
    """Return int64 [rows, num_parts] of positive lengths summing to ``num_items``, uniform over all of them.

    Args:
      bits: uint64 [rows, num_items - 1], one random word for each place between two items; the smallest
        ``num_parts - 1`` words of a row are its cuts.
      num_items: what the lengths add up to.
      num_parts: how many lengths, between 1 and ``num_items``.
    """
    rows, num_cuts = len(bits), num_parts - 1
    bounds = np.zeros((rows, num_parts + 1), np.int64)
    bounds[:, -1] = num_items
    if num_cuts:
        # The place's number in the low bits makes the words distinct, so exactly num_cuts are chosen.
        places = np.arange(num_items - 1, dtype=np.uint64)[None, :]
        words = (bits >> np.uint64(_INDEX_BITS)) << np.uint64(_INDEX_BITS) | places
        threshold = np.partition(words, num_cuts - 1, axis=1)[:, num_cuts - 1 : num_cuts]
        cuts = np.nonzero(words <= threshold)[1]
        bounds[:, 1:-1] = cuts.reshape(rows, num_cuts) + 1
    return np.diff(bounds, axis=1)


def corrupt(
    tokens_BN: np.ndarray, mask_BN: np.ndarray, *, first_sentinel: int, eos_id: int = EOS_ID
) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs_BM, targets_BL): sentinels replace masked spans, targets spell them out; EOS ends both.

    All rows must have the same number of masked tokens and of masked spans. Sentinels descend from the first.
    """
    starts_masked = np.diff(mask_BN, axis=1, prepend=False) & mask_BN
    starts_kept = np.diff(mask_BN, axis=1, prepend=True) & ~mask_BN
    inputs = _sentinels_for_spans(tokens_BN, mask_BN, starts_masked, first_sentinel)
    targets = _sentinels_for_spans(tokens_BN, ~mask_BN, starts_kept, first_sentinel)
    eos_B1 = np.full((len(tokens_BN), 1), eos_id, np.int32)
    return np.concatenate([inputs, eos_B1], axis=1), np.concatenate([targets, eos_B1], axis=1)


def _sentinels_for_spans(
    tokens_BN: np.ndarray, mask_BN: np.ndarray, starts_BN: np.ndarray, first_sentinel: int
) -> np.ndarray:
    """Replace each masked span by one sentinel and keep the rest."""
    rows = len(tokens_BN)
    sentinels = first_sentinel + 1 - np.cumsum(starts_BN, axis=1, dtype=np.int32)
    replaced = np.where(starts_BN, sentinels, tokens_BN.astype(np.int32, copy=False))
    return replaced[~mask_BN | starts_BN].reshape(rows, -1)

"""T5's span corruption: random spans become sentinels, the decoder writes what they hid.

    raw      Thank you for inviting me to your party last week
    inputs   Thank you <0> me to your party <1> EOS
    targets  <0> for inviting <1> last week EOS

Follows ``t5.data.preprocessors`` (``random_spans_helper``, ``random_spans_noise_mask``,
``noise_span_to_unique_sentinel``). Deviations: the randomness is a function of (key, index); sentinels that
the vocabulary lacks are refused, where T5 goes on into ordinary pieces.
"""

from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import EOS_ID
from t5lite.data.indexed_random import random_bits

_INDEX_BITS = 20  # chunks of up to a million tokens


@dataclass(frozen=True, kw_only=True)
class SpanCorruption:
    """Masks random spans of the text; the paper's values by default."""

    noise_density: float = 0.15
    """Share of the raw tokens that is masked, strictly between 0 and 1."""

    mean_span_length: float = 3.0
    """Average number of tokens in a masked span, at least 1."""

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

    def fields(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, first_sentinel: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (inputs_BM, targets_BL), int32 with EOS, of chunks of equal length.

        Args:
          tokens_BN: raw tokens.
          key: of ``indexed_random.derive_key``.
          indices: [B], what the noise of each row depends on besides the key.
          first_sentinel: id of ``<extra_id_0>``; further sentinels descend from it.
        """
        mask_BN = self.noise_mask(tokens_BN.shape[1], key=key, indices=indices)
        return corrupt(tokens_BN, mask_BN, first_sentinel=first_sentinel)

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
    tokens_BN: np.ndarray, mask_BN: np.ndarray, *, first_sentinel: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs_BM, targets_BL): sentinels replace masked spans, targets spell them out.

    All rows must have the same number of masked tokens and of masked spans.
    """
    starts_masked = np.diff(mask_BN, axis=1, prepend=False) & mask_BN
    starts_kept = np.diff(mask_BN, axis=1, prepend=True) & ~mask_BN
    inputs = _sentinels_for_spans(tokens_BN, mask_BN, starts_masked, first_sentinel)
    targets = _sentinels_for_spans(tokens_BN, ~mask_BN, starts_kept, first_sentinel)
    return inputs, targets


def _sentinels_for_spans(
    tokens_BN: np.ndarray, mask_BN: np.ndarray, starts_BN: np.ndarray, first_sentinel: int
) -> np.ndarray:
    """Replace each masked span by one sentinel, keep the rest, append EOS."""
    rows = len(tokens_BN)
    sentinels = first_sentinel + 1 - np.cumsum(starts_BN, axis=1, dtype=np.int32)
    replaced = np.where(starts_BN, sentinels, tokens_BN.astype(np.int32, copy=False))
    body = replaced[~mask_BN | starts_BN].reshape(rows, -1)
    return np.concatenate([body, np.full((rows, 1), EOS_ID, np.int32)], axis=1)

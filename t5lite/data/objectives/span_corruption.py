"""T5's span corruption: random spans become sentinels, the decoder writes what they hid.

    raw      Thank you for inviting me to your party last week
    inputs   Thank you <0> me to your party <1> EOS
    targets  <0> for inviting <1> last week EOS

A decoder-only model has both in one row, and is asked for the targets.

Follows ``t5.data.preprocessors`` (``random_spans_helper``, ``random_spans_noise_mask``,
``noise_span_to_unique_sentinel``). Deviations: the randomness is a function of (key, index); sentinels that
the vocabulary lacks are refused, where T5 goes on into ordinary pieces.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import derive_subkey, distinct_words, random_below, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import (
    ChunkLayout,
    Sides,
    is_full,
    laid_out_fields,
    largest_that_fits,
    lay_out,
)
from t5lite.data.objectives.sentinels import check_sentinels, corrupt, replace_spans
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class SpanCorruption(BaseObjective):
    """Masks random spans of the text; the paper's values by default."""

    noise_density: float = 0.15
    """Share of the raw tokens that is masked, strictly between 0 and 1."""

    mean_span_length: float = 3.0
    """Average number of tokens in a masked span, at least 1."""

    random_roll: bool = False
    """Rotate the mask by a random number of places (T5's option): all places are masked equally often, the
    first too, and rows may end a token earlier."""

    ends_inputs: ClassVar[bool] = True

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
        return self.counts(raw_tokens)[1] + self.random_roll

    def lengths(self, raw_tokens: int) -> tuple[int, int]:
        """Return (inputs, targets) lengths, EOS included, of a corrupted chunk of ``raw_tokens`` at most."""
        num_noise, num_spans = (
            self.counts(raw_tokens)[0],
            self.num_sentinels(raw_tokens),
        )  # a rotation cuts one
        return raw_tokens - num_noise + num_spans + 1, num_noise + num_spans + 1

    def chunk_length(self, inputs_length: int) -> tuple[int, int]:
        """Return (raw tokens of a chunk, targets length) that fill ``inputs_length`` exactly.

        The raw length is the largest that fits. At density 0.5, T5 takes one token less when that makes the
        targets no longer than the inputs; so does this (512 at 0.5 gives 766 and 512).

        Raises:
          ConfigError: if ``inputs_length`` is too short for these settings.
        """
        raw_tokens = largest_that_fits(lambda tokens: self.lengths(max(tokens, 2))[0], inputs_length)
        raw_tokens = max(raw_tokens, 2)
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

    def row_length(self, raw_tokens: int) -> int:
        """Return the length of a decoder-only model's row: each token is an input but for the last."""
        return sum(self.lengths(raw_tokens)) - 1

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout of ``chunk_length``; a decoder-only model's row ends in 2 of padding at most.

        Raises:
          ConfigError: if ``inputs_length`` is too short for these settings.
        """
        if not has_one_row(architecture):
            raw_tokens, targets_length = self.chunk_length(inputs_length)
            return ChunkLayout(raw_tokens, raw_tokens, inputs_length, targets_length)
        raw_tokens = largest_that_fits(self.row_length, inputs_length)
        self.check_spans(raw_tokens, inputs_length)
        return ChunkLayout(raw_tokens, raw_tokens, 0, inputs_length)

    def check_spans(self, raw_tokens: int, inputs_length: int) -> None:
        """Check that there are tokens to keep between the spans.

        Raises:
          ConfigError: if the settings leave too few.
        """
        num_noise, num_spans = self.counts(max(raw_tokens, 1))
        if raw_tokens < 2 or num_spans > raw_tokens - num_noise:
            raise ConfigError(
                f"inputs_length={inputs_length} cannot be filled with noise_density={self.noise_density}, "
                f"mean_span_length={self.mean_span_length}; use longer inputs, less noise or longer spans"
            )

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there is a sentinel for every span, and EOS.

        Raises:
          ConfigError: if there are too few.
        """
        vocabulary.special_id("eos", needed_for="span corruption")
        num_sentinels = self.num_sentinels(self.layout(inputs_length, architecture).tokens)
        check_sentinels(num_sentinels, vocabulary, inputs_length)

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the fields; rows are full but for a rotation, which cuts a span in two or does not."""
        full = not self.random_roll and is_full(layout, *self.lengths(layout.tokens))
        return laid_out_fields(layout, full=full)

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the fields of one side or both; a decoder beside an encoder starts with ``layout.start_id``.

        Args:
          tokens_BN: raw tokens.
          key: of ``indexed_random.derive_key``.
          indices: [B], what the noise of each row depends on besides the key.
          vocabulary: has ``check_vocabulary``'s ids.
          layout: of the model that is fed.
        """
        return lay_out(self.sides(tokens_BN, key=key, indices=indices, vocabulary=vocabulary), layout)

    def sides(
        self, tokens_BN: np.ndarray, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> Sides:
        """Return inputs and targets; all rows are full but with ``random_roll``."""
        eos_id = vocabulary.special_id("eos", needed_for="span corruption")
        if self.random_roll:
            mask_BN = self.noise_mask(tokens_BN.shape[1], key=key, indices=indices)
            return corrupt(tokens_BN, mask_BN, sentinel_ids=vocabulary.sentinel_ids, eos_id=eos_id)
        # What `corrupt` makes of `noise_mask`, but the starts of the spans are known here.
        rows, raw_tokens = tokens_BN.shape
        lengths = self._span_lengths(raw_tokens, key=key, indices=indices)
        mask_BN = _mask_of(lengths, raw_tokens)
        num_spans = lengths.shape[1] // 2
        starts = np.cumsum(lengths.ravel()).reshape(rows, num_spans, 2)
        masked_starts = starts[:, :, 0].ravel()
        kept_starts = (starts[:, :, 1] - lengths[:, 1::2] - lengths[:, 0::2]).ravel()
        sentinels = np.tile(vocabulary.sentinel_ids[:num_spans], rows)
        return Sides(
            replace_spans(tokens_BN, ~mask_BN, masked_starts, sentinels, eos_id=eos_id),
            replace_spans(tokens_BN, mask_BN, kept_starts, sentinels, eos_id=eos_id),
        )

    def noise_mask(self, raw_tokens: int, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return bool [len(indices), raw_tokens], true where masked.

        Masked and kept spans alternate, beginning with a kept and ending with a masked one; both kinds of
        lengths are uniform over all compositions; ``random_roll`` rotates that.
        """
        mask_BN = _mask_of(self._span_lengths(raw_tokens, key=key, indices=indices), raw_tokens)
        if not self.random_roll:
            return mask_BN
        offsets_B = random_below(random_bits(derive_subkey(key, 0), indices, 1)[:, 0], raw_tokens)
        sources_BN = (np.arange(raw_tokens)[None, :] - offsets_B[:, None]) % raw_tokens
        return np.take_along_axis(mask_BN, sources_BN, axis=1)

    def _span_lengths(self, raw_tokens: int, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 2 * spans]: lengths of the kept span, the masked one after it, and so on."""
        num_noise, num_spans = self.counts(raw_tokens)
        bits = random_bits(key, indices, raw_tokens - 2)
        masked = random_composition(bits[:, : num_noise - 1], num_noise, num_spans)
        kept = random_composition(bits[:, num_noise - 1 :], raw_tokens - num_noise, num_spans)
        return np.stack([kept, masked], axis=2).reshape(len(indices), 2 * num_spans)


def _mask_of(span_lengths: np.ndarray, raw_tokens: int) -> np.ndarray:
    """Return bool [B, raw_tokens], true in every other span."""
    is_masked = np.tile([False, True], span_lengths.size // 2)
    return np.repeat(is_masked, span_lengths.ravel()).reshape(-1, raw_tokens)


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
        words = distinct_words(bits)  # so exactly num_cuts are chosen
        threshold = np.partition(words, num_cuts - 1, axis=1)[:, num_cuts - 1 : num_cuts]
        cuts = np.nonzero(words <= threshold)[1]
        bounds[:, 1:-1] = cuts.reshape(rows, num_cuts) + 1
    return np.diff(bounds, axis=1)

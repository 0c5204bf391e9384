"""I.i.d. denoising: every token is masked by a coin of its own (Raffel et al. 2019, the baseline).

    raw      Thank you for inviting me to your party last week
    inputs   Thank you <0> me to your party <1> week EOS
    targets  <0> for inviting <1> last <2> EOS

Follows ``t5.data.preprocessors.iid_denoising``: neighbouring masked tokens share a sentinel, the first token
may be masked, and the last kept span has a sentinel in the targets. Rows end where their mask has them end;
the rest is padding. Deviations: the randomness is a function of (key, index); a row that would need more
room than the mean and five standard deviations (one in millions) is masked no further, where T5 cuts it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout, laid_out_fields, largest_that_fits, lay_out
from t5lite.data.objectives.sentinels import check_sentinels, corrupt
from t5lite.data.vocabulary import Vocabulary

_DEVIATIONS = 5


@dataclass(frozen=True, kw_only=True)
class IidDenoising(BaseObjective):
    """Masks tokens independently of each other; T5's share by default."""

    noise_density: float = 0.15
    """Probability of a token to be masked, strictly between 0 and 1."""

    ends_inputs: ClassVar[bool] = True

    def __post_init__(self):
        if not 0 < self.noise_density < 1:
            raise ConfigError(
                f"noise_density={self.noise_density} must lie strictly between 0 and 1; T5 uses 0.15"
            )

    def limits(self, raw_tokens: int) -> tuple[int, int]:
        """Return (masked tokens, masked spans) that a chunk of ``raw_tokens`` has at most."""
        density, variance = self.noise_density, self.noise_density * (1 - self.noise_density)
        masked = raw_tokens * density + _DEVIATIONS * math.sqrt(raw_tokens * variance)
        # Runs of heads: a head that follows no head.
        spans = density + (raw_tokens - 1) * variance
        spans += _DEVIATIONS * math.sqrt(raw_tokens * variance * (1 - 3 * variance))
        return min(raw_tokens, math.ceil(masked)), min((raw_tokens + 1) // 2, math.ceil(spans))

    def targets_length(self, raw_tokens: int) -> int:
        """Return the length that targets have at most: the masked, a sentinel for each kept span, EOS."""
        num_noise, num_spans = self.limits(raw_tokens)
        return num_noise + num_spans + 2

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: as many raw tokens as leave room for EOS, as in T5, or as fit a single row.

        Raises:
          ConfigError: if not even a token fits.
        """
        if not has_one_row(architecture):
            raw_tokens = inputs_length - 1
            lengths = inputs_length, self.targets_length(max(raw_tokens, 0))
        else:
            # Each masked span is a sentinel on either side; the last kept one may be another.
            raw_tokens = largest_that_fits(
                lambda tokens: tokens + 2 * self.limits(tokens)[1] + 2, inputs_length
            )
            lengths = 0, inputs_length
        if raw_tokens < 1:
            raise ConfigError(f"inputs_length={inputs_length} has no room for a token; use longer inputs")
        return ChunkLayout(raw_tokens, raw_tokens, *lengths)

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there is a sentinel for every span, and EOS.

        Raises:
          ConfigError: if there are too few.
        """
        vocabulary.special_id("eos", needed_for="i.i.d. denoising")
        num_spans = self.limits(self.layout(inputs_length, architecture).tokens)[1]
        check_sentinels(num_spans + 1, vocabulary, inputs_length)

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the fields; rows differ in length."""
        return laid_out_fields(layout, full=False)

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the fields of one side or both, with segment ids: rows differ in length."""
        sides = corrupt(
            tokens_BN,
            self.noise_mask(tokens_BN.shape[1], key=key, indices=indices),
            sentinel_ids=vocabulary.sentinel_ids,
            eos_id=vocabulary.special_id("eos", needed_for="i.i.d. denoising"),
        )
        return lay_out(sides, layout)

    def noise_mask(self, raw_tokens: int, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return bool [len(indices), raw_tokens], true where masked, within ``limits``."""
        bits = random_bits(key, indices, raw_tokens)
        mask = bits < np.uint64(self.noise_density * 2**64)
        num_noise, num_spans = self.limits(raw_tokens)
        starts = np.diff(mask, axis=1, prepend=False) & mask
        return mask & (np.cumsum(mask, axis=1) <= num_noise) & (np.cumsum(starts, axis=1) <= num_spans)

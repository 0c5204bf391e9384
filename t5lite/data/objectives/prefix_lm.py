"""Prefix language modelling: the beginning of a chunk is given, its continuation is asked for.

    raw      Thank you for inviting me to your party last week
    inputs   Thank you for inviting EOS
    targets  me to your party last week EOS

Follows ``t5.data.preprocessors.prefix_lm`` (``random_prefix_noise_mask``): the prefix's length is uniform.
It is the objective of LM adaptation (Lester et al. 2021). A decoder-only model has the chunk in one row as
for ``CausalLM``, EOS after each document and none at the end of the prefix, with loss after the prefix only.
Deviation: chunks have ``inputs_length`` tokens, so that the longest prefix and EOS fill the encoder; T5's
have one less.
"""

from dataclasses import dataclass

import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import random_below, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout, Sides, laid_out_fields, lay_out, ragged_rows
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PrefixLM(BaseObjective):
    """Continues a text from a random place; T5's distribution by default."""

    noise_density: float = 0.5
    """Share of a chunk that is asked for on average, above 0 and at most 0.5: the prefix's length is uniform
    between a share of 1 - 2 x this and the whole chunk but for a token."""

    def __post_init__(self):
        if not 0 < self.noise_density <= 0.5:
            raise ConfigError(
                f"noise_density={self.noise_density} must be above 0 and at most 0.5; T5 uses 0.5"
            )

    def shortest_prefix(self, raw_tokens: int) -> int:
        """Return the least number of tokens that are given of a chunk of ``raw_tokens``."""
        return min(raw_tokens - 1, max(1, round((1 - 2 * self.noise_density) * (raw_tokens - 1))))

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: chunks of ``inputs_length``, and a token more for a decoder-only model.

        Raises:
          ConfigError: if ``inputs_length`` leaves no token to give or to ask for.
        """
        if inputs_length < 2:
            raise ConfigError(
                f"inputs_length={inputs_length} must be at least 2: a token to go on from, one to go on with"
            )
        if has_one_row(architecture):
            return ChunkLayout(inputs_length + 1, inputs_length, 0, inputs_length)
        targets_length = inputs_length - self.shortest_prefix(inputs_length) + 1
        return ChunkLayout(inputs_length, inputs_length, inputs_length, targets_length)

    def separators(self, vocabulary: Vocabulary, architecture: str) -> tuple[int, ...]:
        """Return nothing, as in T5, but EOS for a decoder-only model, where the vocabulary has it."""
        eos_id = vocabulary.eos_id
        return (eos_id,) if eos_id is not None and has_one_row(architecture) else ()

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there is EOS to end both sides.

        Raises:
          ConfigError: if there is not.
        """
        del inputs_length
        if not has_one_row(architecture):
            vocabulary.special_id("eos", needed_for="prefix language modelling")

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the fields; inputs and targets differ in length, and fill the row that they share."""
        return laid_out_fields(layout, full=not layout.encoder_length)

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the fields of both sides, with segment ids, or of a full row without."""
        prefixes_B = self.prefix_lengths(tokens_BN.shape[1], key=key, indices=indices)
        is_given = np.arange(tokens_BN.shape[1])[None, :] < prefixes_B[:, None]
        if layout.encoder_length:
            eos_id = vocabulary.special_id("eos", needed_for="prefix language modelling")
            inputs_BM, inputs_lengths_B = ragged_rows(tokens_BN, is_given, end_id=eos_id)
            targets_BL, targets_lengths_B = ragged_rows(tokens_BN, ~is_given, end_id=eos_id)
            return lay_out(Sides(inputs_BM, targets_BL, inputs_lengths_B, targets_lengths_B), layout)
        return {
            "decoder_input_tokens": tokens_BN[:, :-1].astype(np.int32),
            "decoder_target_tokens": tokens_BN[:, 1:].astype(np.int32),
            "decoder_loss_weights": (~is_given[:, 1:]).astype(np.float32),
            "decoder_bidirectional": is_given[:, :-1].astype(np.int32),
        }

    def prefix_lengths(self, raw_tokens: int, *, key: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return int64 [len(indices)], uniform from ``shortest_prefix`` to ``raw_tokens - 1``."""
        shortest = self.shortest_prefix(raw_tokens)
        return shortest + random_below(random_bits(key, indices, 1)[:, 0], raw_tokens - shortest)

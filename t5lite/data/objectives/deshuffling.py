"""Deshuffling: the tokens of a chunk come in random order, to be put right (Raffel et al. 2019, 3.3.1).

    raw      Thank you for inviting me to your party last week
    inputs   party me for your to last you inviting week Thank EOS
    targets  Thank you for inviting me to your party last week EOS

Follows ``t5.data.preprocessors.permute_noise_tokens`` with every token masked; the randomness is a function
of (key, index).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.indexed_random import distinct_words, random_bits
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout, Sides, is_full, laid_out_fields, lay_out
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Deshuffling(BaseObjective):
    """Puts a shuffled chunk in order; there is nothing to set."""

    ends_inputs: ClassVar[bool] = True

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: both sides are the chunk and EOS, next to each other in a single row.

        Raises:
          ConfigError: if ``inputs_length`` has no room for two tokens.
        """
        one_row = has_one_row(architecture)
        raw_tokens = (inputs_length - 1) // 2 if one_row else inputs_length - 1
        if raw_tokens < 2:
            raise ConfigError(
                f"inputs_length={inputs_length} has no room for two tokens to shuffle; use longer inputs"
            )
        lengths = (0, inputs_length) if one_row else (inputs_length, inputs_length)
        return ChunkLayout(raw_tokens, raw_tokens, *lengths)

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that there is EOS.

        Raises:
          ConfigError: if there is not.
        """
        del inputs_length, architecture
        vocabulary.special_id("eos", needed_for="deshuffling")

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the fields; both sides are a chunk and EOS."""
        return laid_out_fields(layout, full=is_full(layout, layout.tokens + 1, layout.tokens + 1))

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the fields of one side or both."""
        words = distinct_words(random_bits(key, indices, tokens_BN.shape[1]))
        shuffled_BN = np.take_along_axis(tokens_BN, np.argsort(words, axis=1), axis=1)
        eos_B1 = np.full(
            (len(tokens_BN), 1), vocabulary.special_id("eos", needed_for="deshuffling"), np.int32
        )
        sides = (np.concatenate([side.astype(np.int32), eos_B1], axis=1) for side in (shuffled_BN, tokens_BN))
        return lay_out(Sides(*sides), layout)

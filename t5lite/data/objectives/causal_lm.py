"""The causal language model's objective: the next token at every position.

    stream   I came . EOS You saw . EOS
    inputs   I came . EOS You saw .
    targets  came . EOS You saw . EOS

As GPT-2 and GPT-3: documents follow each other in a row, each ended by EOS, and are not masked from each
other. Neighbouring chunks share one token, the target of one and the first input of the next, so every
token of the stream but the very first is predicted once an epoch (as in Megatron-LM).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.architectures import SIDES_OF, has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class CausalLM(BaseObjective):
    """Predicts every token from those before it; there is nothing to set."""

    architectures: ClassVar[tuple[str, ...]] = tuple(each for each in SIDES_OF if has_one_row(each))

    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the layout: ``inputs_length`` inputs, and a target each.

        Raises:
          ConfigError: if ``inputs_length`` is not positive.
        """
        del architecture
        if inputs_length < 1:
            raise ConfigError(f"inputs_length={inputs_length} must be at least 1")
        return ChunkLayout(inputs_length + 1, inputs_length, 0, inputs_length)

    def separators(self, vocabulary: Vocabulary, architecture: str) -> tuple[int, ...]:
        """Return EOS, or nothing for a vocabulary without: its documents run into each other."""
        del architecture
        return () if vocabulary.eos_id is None else (vocabulary.eos_id,)

    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Accept any vocabulary."""
        del vocabulary, inputs_length, architecture

    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return the decoder's fields."""
        del layout
        return "decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights"

    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the decoder's fields; there is no noise to draw."""
        del key, indices, vocabulary, layout
        inputs_BL, targets_BL = tokens_BN[:, :-1].astype(np.int32), tokens_BN[:, 1:].astype(np.int32)
        return {
            "decoder_input_tokens": inputs_BL,
            "decoder_target_tokens": targets_BL,
            "decoder_loss_weights": np.ones(targets_BL.shape, np.float32),
        }

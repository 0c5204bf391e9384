"""A masked language model fills in what is hidden in a text."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding.config import GREEDY, DecodingConfig
from t5lite.decoding.mode import DecodingMode, Given, Row, framed_row
from t5lite.decoding.strategies import Written, most_probable
from t5lite.models.config import HEADS, EncoderOnlyConfig

MASK = "[MASK]"
"""What stands for a hidden token in a text, whatever the vocabulary calls it."""


class Filling(DecodingMode):
    """Every ``[MASK]`` becomes its most probable token, each for itself; the marks are segment ids."""

    least_length: ClassVar[int] = 3

    def __init__(
        self,
        config: EncoderOnlyConfig,
        vocabulary: Vocabulary,
        *,
        encoder_length: int,
        max_decode_length: int,
        eos_ids: Sequence[int] = (),
        decoding: DecodingConfig = GREEDY,
    ):
        """Check that the head names tokens, and find what frames them."""
        if not config.fills_masks:
            heads = " or ".join(repr(head) for head, kind in HEADS.items() if kind.predicts_tokens)
            instead = "t5lite embed writes its vectors"
            if config.head_kind.is_fine_tuned:
                instead = "t5lite evaluate --predictions FILE.jsonl writes what it predicts for labelled rows"
            raise ConfigError(
                f"an encoder-only model with head={config.head!r} writes no text: {instead}; one with "
                f"head={heads} fills in {MASK}"
            )
        if decoding != GREEDY:
            raise ConfigError(
                f"a masked language model fills in every {MASK} by its most probable token; options of "
                "decoding are for models with a decoder: leave them out"
            )
        if encoder_length < self.least_length:
            raise ConfigError(
                f"encoder_length={encoder_length} has no room for a token between [CLS] and [SEP]; use "
                f"{self.least_length} or more"
            )
        super().__init__(
            config,
            vocabulary,
            encoder_length=encoder_length,
            max_decode_length=max_decode_length,
            eos_ids=eos_ids,
        )
        self.special = special_tokens(vocabulary)

    def row(self, given: Given) -> Row:
        """Return [CLS], the input, cut to fit, and [SEP]."""
        if isinstance(given, Row):
            return given
        frame = Frame((self.special.cls,), (self.special.sep,))
        return framed_row(self.ids(given), frame, self.encoder_length)

    def ids(self, given: str | np.ndarray | Prompt) -> np.ndarray:
        """Return the ids of an input; of a text with that of the mask wherever it says so."""
        # By its own name, whose rules may take a space beside it, as RoBERTa's do.
        called = self.vocabulary.token_text(self.special.mask)
        return super().ids(given.replace(MASK, called) if isinstance(given, str) else given)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array) -> Written:
        """Return the inputs with their masks filled in, rows of ``encoder_length``."""
        del indices_B
        logits_BMV = model({"encoder_input_tokens": tokens_BM, "encoder_segment_ids": marks})["tokens"]
        best_BM = most_probable(self.search.known(logits_BMV))
        return Written(jnp.where(tokens_BM == self.special.mask, best_BM, tokens_BM))

    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return what stands between [CLS] and [SEP]."""
        return ids[marks == 1][1:-1], True

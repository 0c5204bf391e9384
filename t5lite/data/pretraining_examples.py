"""Examples for pretraining: equal chunks of the virtual concatenation, made fields by the objective."""

from dataclasses import dataclass, field

import numpy as np

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.document_stream import DocumentStream
from t5lite.data.objectives import Objective, SpanCorruption
from t5lite.data.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PretrainingDataConfig:
    """Chunks of a token store under a pretraining objective."""

    store: str
    """Directory of a token store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 512
    """Tokens of the model's input, special ones included; other lengths follow from the objective."""

    objective: Objective = field(default_factory=SpanCorruption)
    """What is hidden and asked for; each objective trains one kind of model."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    def __post_init__(self):
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")
        self.objective.layout(self.inputs_length)

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return (encoder, decoder) lengths of the batch fields, which follow from the objective alone."""
        del architecture
        layout = self.objective.layout(self.inputs_length)
        return layout.encoder_length, layout.decoder_length


class PretrainingExamples:
    """Chunk ``i`` begins ``i`` strides into the stream; a last, incomplete one is left out.

    Raises:
      DataError: if the store is shorter than one chunk.
      ConfigError: if the vocabulary lacks ids that the objective needs.
    """

    def __init__(self, config: PretrainingDataConfig, *, vocabulary_fingerprint: str | None = None):
        store = TokenStore.open(config.store, vocabulary_fingerprint)
        self.vocabulary: Vocabulary = store.vocabulary()
        self._objective = config.objective
        self._layout = layout = config.objective.layout(config.inputs_length)
        self.encoder_length, self.decoder_length = layout.encoder_length, layout.decoder_length
        self._stream = DocumentStream(store, config.objective.separator(self.vocabulary))
        available = self._stream.num_tokens
        self.num_examples = max(0, (available - layout.tokens) // layout.stride + 1)
        if not self.num_examples:
            raise DataError(
                f"{config.store} has {available} tokens, one chunk for inputs_length="
                f"{config.inputs_length} needs {layout.tokens}; use more text or a shorter inputs_length"
            )
        config.objective.check_vocabulary(self.vocabulary, config.inputs_length)
        self.max_epochs = config.max_epochs
        self.report: dict[str, float] = {
            "tokens": available,
            "examples": self.num_examples,
            "tokens_left_over": available - layout.tokens - (self.num_examples - 1) * layout.stride,
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of chunks ``indices``; row ``r`` has noise ``noise_indices[r]``."""
        chunks_BN = self._stream.chunks(indices * self._layout.stride, self._layout.tokens)
        return self._objective.fields(
            chunks_BN, key=noise_key, indices=noise_indices, vocabulary=self.vocabulary
        )

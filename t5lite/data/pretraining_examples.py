"""Examples for pretraining: equal chunks of the virtual concatenation, corrupted by the objective."""

from dataclasses import dataclass, field

import numpy as np

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.objectives import Objective, SpanCorruption
from t5lite.data.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PretrainingDataConfig:
    """Chunks of a token store under a pretraining objective."""

    store: str
    """Directory of a token store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 512
    """Tokens of the encoder's input, EOS included; the decoder's length follows from the objective."""

    objective: Objective = field(default_factory=SpanCorruption)
    """What is hidden and asked for."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    def __post_init__(self):
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")
        self.objective.chunk_length(self.inputs_length)


class PretrainingExamples:
    """Chunk ``i`` is tokens ``[i * n, (i + 1) * n)`` of the store; the last, incomplete one is left out.

    Raises:
      DataError: if the store is shorter than one chunk.
      ConfigError: if the objective needs more sentinels than the vocabulary has.
    """

    def __init__(self, config: PretrainingDataConfig, *, vocabulary_fingerprint: str | None = None):
        self._store = TokenStore.open(config.store, vocabulary_fingerprint)
        self.vocabulary: Vocabulary = self._store.vocabulary()
        self._objective = config.objective
        self.encoder_length = config.inputs_length
        self._raw_tokens, self.decoder_length = config.objective.chunk_length(config.inputs_length)
        self.num_examples, left_over = divmod(self._store.num_tokens, self._raw_tokens)
        if not self.num_examples:
            raise DataError(
                f"{config.store} has {self._store.num_tokens} tokens, one chunk for inputs_length="
                f"{config.inputs_length} needs {self._raw_tokens}; use more text or a shorter inputs_length"
            )
        num_sentinels = config.objective.num_sentinels(self._raw_tokens)
        if num_sentinels > self.vocabulary.extra_ids:
            raise ConfigError(
                f"inputs_length={config.inputs_length} with this objective uses {num_sentinels} sentinels, "
                f"the vocabulary has extra_ids={self.vocabulary.extra_ids}; prepare the text with more, or "
                "use shorter inputs, less noise or longer spans"
            )
        self.max_epochs = config.max_epochs
        self.report: dict[str, float] = {
            "tokens": self._store.num_tokens,
            "examples": self.num_examples,
            "tokens_left_over": left_over,
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of chunks ``indices``; row ``r`` has noise ``noise_indices[r]``."""
        chunks_BN = self._store.chunks(indices * self._raw_tokens, self._raw_tokens)
        inputs_BM, targets_BL = self._objective.fields(
            chunks_BN,
            key=noise_key,
            indices=noise_indices,
            first_sentinel=self.vocabulary.sentinel(0),
        )
        shifted_BL = np.zeros_like(targets_BL)
        shifted_BL[:, 1:] = targets_BL[:, :-1]
        return {
            "encoder_input_tokens": inputs_BM,
            "decoder_input_tokens": shifted_BL,
            "decoder_target_tokens": targets_BL,
            "decoder_loss_weights": np.ones(targets_BL.shape, np.float32),
        }

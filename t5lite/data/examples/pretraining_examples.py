"""Examples for pretraining: equal chunks of the virtual concatenation, made fields by the objective."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.home import expand_fields
from t5lite.core.types import PAD_ID
from t5lite.data.examples.protocol import Examples
from t5lite.data.examples.source_config import SourceConfig
from t5lite.data.objectives import Objective, SpanCorruption, check_architecture
from t5lite.data.objectives.next_sentence import SentencePairs, pair_sentences
from t5lite.data.opening import Opening
from t5lite.data.prompt import Prompt
from t5lite.data.stores.document_stream import DocumentStream
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PretrainingDataConfig(SourceConfig):
    """Chunks of a token store under a pretraining objective."""

    store: str
    """Directory of a token store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 512
    """Tokens of the model's input, special ones included; other lengths follow from the objective."""

    objective: Objective = field(default_factory=SpanCorruption)
    """What is hidden and asked for; each objective trains some architectures."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    def __post_init__(self):
        expand_fields(self, "store")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")
        # A length that makes no sense is refused at once; `lengths` has the last word.
        self.objective.layout(self.inputs_length, self.objective.architectures[0])

    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a chunk, as the objective has them."""
        return self.objective.prompt(text, vocabulary, prefix=prefix)

    @property
    def kind(self) -> str:
        """What the objective is called."""
        return type(self.objective).__name__

    @property
    def remark(self) -> str | None:
        """As the objective says."""
        return self.objective.remark

    def unreached(self, examples: int) -> str | None:
        """As the objective says."""
        return self.objective.unreached(examples)

    def held_out(self, store: str) -> Self:
        """Return how another store is measured: once, by what the objective says of held-out text."""
        return dataclasses.replace(super().held_out(store), objective=self.objective.held_out())

    def open_examples(self, opening: Opening) -> Examples:
        """Return chunks under the objective."""
        return PretrainingExamples(
            self,
            architecture=opening.architecture,
            start_id=opening.start_id,
            vocabulary_fingerprint=opening.vocabulary_fingerprint,
            tolerate_damage=opening.tolerates_damage,
        )

    def check_model(self, architecture: str, head: str) -> None:
        """Check that the objective trains such models."""
        check_architecture(self.objective, architecture)
        self.objective.check_head(head)

    def columns(self) -> dict[str, TokenStore]:
        """Return the documents."""
        return {"documents": TokenStore.open(self.store)}

    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return no limit: documents follow each other."""
        del architecture, vocabulary
        return {"documents": 0}

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields that the objective makes."""
        check_architecture(self.objective, architecture)
        layout = self.objective.layout(self.inputs_length, architecture)
        return BatchSpec(
            fields=frozenset(self.objective.field_names(layout)),
            encoder_length=layout.encoder_length,
            decoder_length=layout.decoder_length,
        )

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return (encoder, decoder) lengths of the batch fields, which follow from the objective.

        Raises:
          ConfigError: if the objective trains no such model, or ``inputs_length`` cannot be filled.
        """
        spec = self.batch_spec(architecture)
        return spec.encoder_length, spec.decoder_length


class PretrainingExamples(Examples):
    """Chunk ``i`` begins ``i`` strides into the stream; a last, incomplete one is left out.

    Args:
      config: of the store and the objective.
      architecture: of the model that is fed; None is the first that the objective trains.
      start_id: in front of what its decoder writes (``config.decoder_start_id``).
      vocabulary_fingerprint: of the vocabulary the data must belong to; None accepts any.
      tolerate_damage: as of ``TokenStore.open``.

    Raises:
      DataError: if the store is shorter than one chunk.
      ConfigError: if the objective trains no such model, or the vocabulary lacks ids that it needs.
    """

    def __init__(
        self,
        config: PretrainingDataConfig,
        *,
        architecture: str | None = None,
        start_id: int = PAD_ID,
        vocabulary_fingerprint: str | None = None,
        tolerate_damage: bool = False,
    ):
        objective = config.objective
        self._objective = objective
        architecture = objective.architectures[0] if architecture is None else architecture
        self.spec = config.batch_spec(architecture)
        layout = objective.layout(config.inputs_length, architecture)._replace(start_id=start_id)
        self._layout = layout
        store = TokenStore.open(config.store, vocabulary_fingerprint, tolerate_damage=tolerate_damage)
        self.vocabulary: Vocabulary = store.vocabulary()
        self._separators = objective.separators(self.vocabulary, architecture)
        self._stream = DocumentStream(store, self._separators)
        available = self._stream.num_tokens
        self.num_examples = max(0, (available - layout.tokens) // layout.stride + 1)
        if not self.num_examples:
            raise DataError(
                f"{config.store} has {available} tokens, one chunk for inputs_length="
                f"{config.inputs_length} needs {layout.tokens}; use more text or a shorter inputs_length"
            )
        if objective.pairs_sentences and store.num_documents < 2:
            raise DataError(
                f"{config.store} is a single document, and next_sentence=True takes random sentences from "
                "another one; prepare the text as several documents, or set next_sentence=False"
            )
        objective.check_vocabulary(self.vocabulary, config.inputs_length, architecture)
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
        objective = self._objective
        if objective.pairs_sentences:
            return objective.pair_fields(
                self._sentence_pairs(indices, noise_indices, noise_key),
                key=noise_key,
                indices=noise_indices,
                vocabulary=self.vocabulary,
            )
        return objective.fields(
            self._chunks(indices),
            key=noise_key,
            indices=noise_indices,
            vocabulary=self.vocabulary,
            layout=self._layout,
        )

    def _chunks(self, indices: np.ndarray) -> np.ndarray:
        return self._stream.chunks(indices * self._layout.stride, self._layout.tokens)

    def _sentence_pairs(
        self, indices: np.ndarray, noise_indices: np.ndarray, noise_key: np.ndarray
    ) -> SentencePairs:
        (separator,) = self._separators
        # Noise is numbered along the endless stream of examples, so its number says which pass it is.
        return pair_sentences(
            indices,
            noise_indices // self.num_examples,
            num_examples=self.num_examples,
            key=noise_key,
            separator=separator,
            read=self._chunks,
            documents_at=lambda chunks, places: self._stream.documents_at(
                chunks * self._layout.stride + places
            ),
        )

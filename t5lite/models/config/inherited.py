"""The model of a recipe that fine-tunes: that of the run it begins from."""

import dataclasses
from dataclasses import dataclass

from t5lite.models.config.heads import Head
from t5lite.models.config.pooling import SentenceEmbedding
from t5lite.models.config.transformer import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """The model of ``initialize_from``, but for what is said here; None is as there."""

    head: Head | None = None
    """Of an encoder-only model."""
    num_labels: int | None = None
    """Classes of a head that classifies."""
    embedding: SentenceEmbedding | None = None
    """How a head that embeds makes and contrasts vectors."""
    dropout_rate: float | None = None

    def of(self, source: TransformerConfig) -> TransformerConfig:
        """Return the model that this makes of the source's.

        Raises:
          ConfigError: if the source's has no head to choose, or the head no labels; for a value out of range.
        """
        model = source
        if self.head is not None or self.num_labels is not None:
            model = source.with_head(self.head, self.num_labels)
        model = model.with_embedding(self.embedding)
        if self.dropout_rate is None:
            return model
        return dataclasses.replace(model, dropout_rate=self.dropout_rate)

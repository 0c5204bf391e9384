"""How a text becomes one vector, and how vectors of pairs are contrasted."""

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

from t5lite.core.errors import ConfigError
from t5lite.models.config.checks import check_choice
from t5lite.models.config.parts import LossKind

Pooling: TypeAlias = Literal["mean", "cls", "last"]
"""The mean over its tokens, the state of the first one, or that of the last one."""


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedding:
    """What an encoder with the head ``sentence_embedding`` makes of texts, and is trained by.

    The loss is the cross-entropy of the positive among all positives and hard negatives of the global batch,
    by their cosines (InfoNCE: MultipleNegativesRankingLoss of sentence-transformers, and Sentence-T5).
    """

    pooling: Pooling = "mean"
    """How hidden states become one vector."""
    temperature: float = 0.05
    """What cosines are divided by: a scale of 20, as in sentence-transformers."""
    symmetric: bool = False
    """Also tell the anchor of each positive among all anchors; the loss is the mean of both."""

    def __post_init__(self) -> None:
        check_choice("embedding.pooling", self.pooling, get_args(Pooling))
        if not 0.001 <= self.temperature <= 100:
            raise ConfigError(
                f"embedding.temperature={self.temperature} must be from 0.001 to 100, as cosines are "
                "divided by it"
            )

    @property
    def loss(self) -> LossKind:
        """The loss of the similarities."""
        return "symmetric_contrast" if self.symmetric else "contrast"


class TextVectors:
    """What a configuration answers about vectors of texts: here, that it has no head that makes them."""

    @property
    def pooling(self) -> Pooling:
        """How its hidden states become the vector of a text, unless it is said."""
        return "mean"

    @property
    def embeds(self) -> bool:
        """Whether it is trained to make vectors of texts."""
        return False

    @property
    def embedding_choice(self) -> SentenceEmbedding | None:
        """How it makes and contrasts vectors, where there is something to choose."""
        return None

    def with_embedding(self, embedding: SentenceEmbedding | None) -> Self:
        """Return this model with vectors made and contrasted so; None keeps what it has.

        Raises:
          ConfigError: if it has no head for that.
        """
        if embedding is None:
            return self
        raise ConfigError("embedding is of an encoder-only model, and this one is another; leave it out")

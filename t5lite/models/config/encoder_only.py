"""The encoder-only Transformer's configuration."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, get_args

from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError
from t5lite.models.config.attention import AttentionConfig
from t5lite.models.config.checks import check_choice, check_positive
from t5lite.models.config.heads import HEADS, Head, HeadKind
from t5lite.models.config.initializers import Initializer, NormalInitializer
from t5lite.models.config.layers import StackSpec
from t5lite.models.config.mlps import MLPKind, PlainMLP
from t5lite.models.config.norms import LayerNorm, NormKind, NormPlacement
from t5lite.models.config.parts import HeadKernel, Output
from t5lite.models.config.pooling import Pooling, SentenceEmbedding
from t5lite.models.config.positions import LearnedPositions, PositionKind
from t5lite.models.config.transformer import Architecture, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class EncoderOnlyConfig(TransformerConfig):
    """An encoder-only Transformer with a head; the defaults are BERT's choices."""

    num_layers: int
    """Layers."""
    head: Head = "masked_lm"
    """What is computed from the encoder's output; ``encoder_only.EncoderOnly`` describes each."""
    num_labels: int = 2
    """Classes of the two classification heads."""
    num_token_types: int = 2
    """Rows of the token type table (sentence A or B); 0 has none."""
    head_bias: bool = True
    """Whether the dense layer of the masked language model's head has a bias (not in ModernBERT)."""
    label_transform: bool = False
    """Whether a dense layer, an activation and a norm stand before the labels of tokens, as in ModernBERT."""
    embedding: SentenceEmbedding = SentenceEmbedding()
    """How texts become vectors, and what the head ``sentence_embedding`` is trained by."""
    positions: PositionKind = LearnedPositions()
    norm: NormKind = LayerNorm(epsilon=1e-12)
    norm_placement: NormPlacement = "post"
    embedding_norm: bool = True
    mlp: MLPKind = PlainMLP(activation="gelu", bias=True)
    attention: AttentionConfig = AttentionConfig(scaled=True, biases="all")
    tie_embeddings: bool = True
    logit_scale: float | None = 1.0
    initializer: Initializer = NormalInitializer()

    architecture: ClassVar[Architecture] = "encoder_only"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("head", self.head, get_args(Head))
        check_positive(self, "num_labels")
        if self.num_token_types < 0:
            raise ConfigError(f"num_token_types={self.num_token_types} must not be negative")
        if self.predicts_tokens and not self.tie_embeddings:
            raise ConfigError(
                f"head={self.head!r} predicts tokens with the embedding table; set tie_embeddings=True"
            )

    @property
    def head_kind(self) -> HeadKind:
        """What the head is made of."""
        return HEADS[self.head]

    @classmethod
    def module(cls) -> Callable[..., Any]:
        """Return ``EncoderOnly``."""
        from t5lite.models.encoder_only import EncoderOnly

        return EncoderOnly

    @property
    def stacks(self) -> tuple[StackSpec, ...]:
        """The one stack."""
        return (self.stack("encoder", self.num_layers),)

    @property
    def marks(self) -> tuple[str, ...]:
        """The token types, of a model that has any."""
        return ("encoder_token_types",) if self.num_token_types else ()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The head's.

        Raises:
          ConfigError: for a head that predicts nothing.
        """
        if not self.head_kind.outputs:
            trained = [head for head, kind in HEADS.items() if kind.outputs]
            raise ConfigError(
                f"model.head={self.head!r} predicts nothing that could be right or wrong; use one of "
                f"{', '.join(trained)}"
            )
        if self.head_kind.embeds:
            return tuple(replace(output, loss=self.embedding.loss) for output in self.head_kind.outputs)
        return self.head_kind.outputs

    @property
    def pooling(self) -> Pooling:
        """As ``embedding`` says."""
        return self.embedding.pooling

    @property
    def embeds(self) -> bool:
        """Whether the head makes vectors."""
        return self.head_kind.embeds

    @property
    def predicts_tokens(self) -> bool:
        """Whether the head has logits over the vocabulary."""
        return self.head_kind.predicts_tokens

    @property
    def predicted_metrics(self) -> tuple[str, ...]:
        """Those of the head."""
        return self.head_kind.metrics

    @property
    def num_classes(self) -> int | None:
        """The classes of the head that classifies rows."""
        kind = self.head_kind
        return self.num_labels if kind.is_classifier and not kind.labels_tokens else None

    @property
    def num_named_labels(self) -> int | None:
        """The labels of a classifier, of rows or of tokens."""
        return self.num_labels if self.head_kind.is_classifier else None

    @property
    def labels_group(self) -> str | None:
        """That of the head."""
        return self.head_kind.labels

    @property
    def tells_sentences_apart(self) -> bool:
        """Whether there are two token types or more."""
        return self.num_token_types > 1

    def check_fields(self, fields: Collection[str]) -> None:
        """Check that sentences of a pair are told apart where they have types.

        Raises:
          ConfigError: if both have the same.
        """
        if "encoder_token_types" in fields and self.num_token_types == 1:
            raise ConfigError(
                "the data tells sentences apart by token types, but model.num_token_types=1; use 2, or 0 for "
                "none, or leave the types out of the data (token_types=False of SpansDataConfig)"
            )

    def input_parameters(self, side: Side) -> tuple[str, ...]:
        """Return the token types besides, of a model that has any."""
        return (*super().input_parameters(side), *(("token_types",) if self.num_token_types else ()))

    @property
    def head_kernels(self) -> tuple[HeadKernel, ...]:
        """The pooler's, those of the labels and of the masked language model, as far as it has them."""
        kind, kernels = self.head_kind, list[HeadKernel]()
        if kind.pools:
            kernels.append(HeadKernel("pooler/dense/kernel", every_token=False))
        if kind.labels is not None:
            after = ("pooler",) if kind.pools else ()
            if self.transforms_labels:
                kernels.append(HeadKernel("label_transform/dense/kernel"))
                after = ("label_transform",)
            kernels.append(HeadKernel(f"{kind.labels}/dense/kernel", after, every_token=kind.labels_tokens))
        if kind.predicts_tokens:
            kernels.append(HeadKernel("masked_lm/dense/kernel"))
            kernels += self.vocabulary_kernels(("masked_lm/dense", "masked_lm/norm"))
        return tuple(kernels)

    @property
    def has_pooler(self) -> bool:
        """Whether the head reads the first position through a pooler."""
        return self.head_kind.pools

    @property
    def transforms_labels(self) -> bool:
        """Whether the head has a ``label_transform``: it labels tokens."""
        return self.label_transform and self.head_kind.labels_tokens

    @property
    def idle_fields(self) -> tuple[str, ...]:
        """``label_transform``, of a head that does not label tokens."""
        return () if self.head_kind.labels_tokens else ("label_transform",)

    @property
    def labels_of_head(self) -> int:
        """Outputs of the head's dense layer to labels; 0 where it has none."""
        kind = self.head_kind
        return (kind.num_labels or self.num_labels) if kind.labels is not None else 0

    @property
    def head_parameters(self) -> int:
        """Those of the token types and the head; the projection to the vocabulary is the embedding table."""

        def dense(num_features: int) -> int:
            return (self.embed_dim + 1) * num_features

        total = self.num_token_types * self.embed_dim + dense(self.labels_of_head)
        if self.has_pooler:
            total += dense(self.embed_dim)
        if self.predicts_tokens or self.transforms_labels:
            total += dense(self.embed_dim) + self.norm.num_parameters(self.embed_dim)
            total -= 0 if self.head_bias else self.embed_dim
        return total + (self.vocab_size if self.predicts_tokens else 0)

    @property
    def head_tables(self) -> int:
        """Those of the token types, and the bias of each token of the vocabulary."""
        return self.num_token_types * self.embed_dim + (self.vocab_size if self.predicts_tokens else 0)

    @property
    def head_choice(self) -> tuple[Head, int]:
        """The head, and the classes of one that classifies."""
        return self.head, self.num_labels

    @property
    def embedding_choice(self) -> SentenceEmbedding:
        """``embedding``."""
        return self.embedding

    def with_embedding(self, embedding: SentenceEmbedding | None) -> Self:
        """Return this model with another ``embedding``; None keeps what it has."""
        return self if embedding is None else replace(self, embedding=embedding)

    def in_place_of(self, model: TransformerConfig) -> Self:
        """Return this model with what a recipe decides: the dropout, and of an encoder's recipe the head.

        A classifier of the recipe's kind keeps its number of classes.
        """
        chosen = super().in_place_of(model)
        if model.head_choice is None:
            return chosen
        head, num_labels = model.head_choice
        num_labels = self.num_labels if self.head == head else num_labels
        return replace(chosen, head=head, num_labels=num_labels).with_embedding(model.embedding_choice)

    def with_head(self, head: Head | None, num_labels: int | None) -> Self:
        """Return this model with another head, or other classes of it; None keeps what it has.

        Raises:
          ConfigError: if the head is unknown, or has no classes to count.
        """
        model = replace(
            self,
            head=self.head if head is None else head,
            num_labels=self.num_labels if num_labels is None else num_labels,
        )
        if num_labels is not None and model.num_named_labels is None:
            classifiers = [name for name, kind in HEADS.items() if kind.is_classifier]
            raise ConfigError(
                f"num_labels={num_labels} counts classes, and head={model.head!r} has none to choose; leave "
                f"it out, or use head={' or '.join(map(repr, classifiers))}"
            )
        return model

    def head_flops(self, length: int) -> int:
        """Return the FLOPs of the head; masked LM predicts at every position."""
        square = 2 * self.embed_dim * self.embed_dim
        flops = square if self.has_pooler else 0
        if self.predicts_tokens:
            flops += length * square + self.logits_flops(length)
        flops += length * square if self.transforms_labels else 0
        labelled = length if self.head_kind.labels_tokens else 1
        return flops + 2 * self.embed_dim * self.labels_of_head * labelled

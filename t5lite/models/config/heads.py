"""The heads of an encoder-only model: what each computes, and what of it a loss is taken of."""

from dataclasses import dataclass
from typing import Literal

from t5lite.models.config.parts import Output, token_output

Head = Literal[
    "hidden", "pooled", "masked_lm", "pretraining", "sequence_classification", "sequence_regression",
    "token_classification", "span_extraction", "sentence_embedding",
]  # fmt: skip

LANGUAGE_MODEL = "language_model"
"""What a model with a decoder has for a head: the next token."""
_TOKENS = token_output("encoder")
_SEQUENCE = Output("sequence", "sequence_labels")


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """What a head is made of."""

    outputs: tuple[Output, ...] = ()
    """Those that a loss is taken of, the main one first; a head without is not trained."""
    pools: bool = False
    """Whether it reads the first position through a pooler."""
    predicts_tokens: bool = False
    """Whether it has logits over the vocabulary at every position."""
    labels: str | None = None
    """Group of the parameters of its dense layer to a few labels; None: it has none."""
    num_labels: int | None = None
    """How many those are; None: as many as the configuration says."""
    labels_tokens: bool = False
    """Whether the labels are of every position, not of the row."""
    chooses_positions: bool = False
    """Whether each label has a distribution over the positions, not each position one over the labels."""
    drops_out: bool = False
    """Whether dropout stands before the dense layer to the labels, as in transformers."""
    metrics: tuple[str, ...] = ()
    """Names of metrics of its predictions: of such as are text ``evaluation.metrics.METRICS``, of vectors
    ``evaluation.metrics.retrieval``."""
    embeds: bool = False
    """Whether it makes a vector of each text of a row, and is trained by those of all rows together."""

    @property
    def is_bare(self) -> bool:
        """Whether it has no parameters of its own, but for a pooler's."""
        return self.labels is None and not self.predicts_tokens

    @property
    def is_fine_tuned(self) -> bool:
        """Whether its labels are those of a use, which no pretraining knows."""
        return self.labels is not None and not self.predicts_tokens

    @property
    def is_classifier(self) -> bool:
        """Whether its labels are classes of the user's, as many as the configuration says."""
        return self.labels is not None and self.num_labels is None


HEADS: dict[Head, HeadKind] = {
    "hidden": HeadKind(),
    "pooled": HeadKind(pools=True),
    "masked_lm": HeadKind(outputs=(_TOKENS,), predicts_tokens=True),
    "pretraining": HeadKind(
        outputs=(_TOKENS, _SEQUENCE),
        pools=True,
        predicts_tokens=True,
        labels="next_sentence",
        num_labels=2,
    ),
    "sequence_classification": HeadKind(
        outputs=(_SEQUENCE,),
        pools=True,
        labels="classifier",
        drops_out=True,
        metrics=("accuracy", "macro_f1", "matthews"),
    ),
    "sequence_regression": HeadKind(
        outputs=(Output("sequence", "sequence_numbers", loss="squared_error"),),
        pools=True,
        labels="classifier",
        num_labels=1,
        drops_out=True,
        metrics=("pearson", "spearman"),
    ),
    "token_classification": HeadKind(
        outputs=(token_output("encoder", "labels"),),
        labels="classifier",
        labels_tokens=True,
        drops_out=True,
        metrics=("entity_f1",),
    ),
    "span_extraction": HeadKind(
        outputs=(Output("span", "span_positions", accuracy_name="position_accuracy"),),
        labels="span",
        num_labels=2,
        labels_tokens=True,
        chooses_positions=True,
        metrics=("exact_match", "token_f1"),
    ),
    "sentence_embedding": HeadKind(
        outputs=(Output("similarities", "text_numbers", loss="contrast", accuracy_name="batch_accuracy"),),
        metrics=("recall_at_1", "recall_at_10", "mrr", "ndcg_at_10"),
        embeds=True,
    ),
}
"""Every head by name; ``encoder_only.EncoderOnly`` describes what it returns."""

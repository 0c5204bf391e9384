"""What an architecture says it is made of, for whoever counts, compiles or trains it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from t5lite.core.batch_fields import BATCH_FIELDS, Side

LossKind: TypeAlias = Literal["cross_entropy", "squared_error", "contrast", "symmetric_contrast"]
"""How far an output is from what is right (``training.losses``)."""

TOKEN_TABLE = "token_embedder/embedding"
PROJECTION_IN, PROJECTION_OUT = "token_embedder/projection_in", "token_embedder/projection_out"
"""Paths of the embedding table, and of what projects the rows of a narrow one to the model and back."""


class HeadKernel(NamedTuple):
    """A kernel that is in a product between the last stack's output and the outputs."""

    path: str
    """In the tree of the parameters."""
    after: tuple[str, ...] = ()
    """Paths of the parameters, or groups of them, between the stack's output and the kernel's input."""
    every_token: bool = True
    """Whether it is multiplied with every token of the last side; otherwise with one of a row."""


@dataclass(frozen=True)
class Output:
    """An output that a loss is taken of, and the fields of a batch that say what is right."""

    name: str
    targets: str
    """Field of the right ids, or numbers."""
    weights: str | None = None
    """Field that says what counts; None: ``targets`` has one or a few a row, and one that is absent does
    not."""
    loss: LossKind = "cross_entropy"
    accuracy_name: str = "accuracy"
    """What its accuracy is called, by what it is a share of.

    ``accuracy`` is of rows (texts that a head classifies), as of the texts that a model writes;
    ``token_accuracy`` is of target tokens, each predicted from the right ones before it;
    ``position_accuracy`` is of the first and the last positions of spans;
    ``batch_accuracy`` is of pairs, whose other half is the most similar text of the batch.
    """

    @property
    def has_likelihood(self) -> bool:
        """Whether the loss is that of a distribution over labels, so that there is a perplexity."""
        return self.loss == "cross_entropy"

    @property
    def can_be_smoothed(self) -> bool:
        """Whether what is not right is possible: among the positions of a row, padding is not."""
        return self.has_likelihood and BATCH_FIELDS[self.targets].several is None

    @property
    def metrics(self) -> tuple[str, ...]:
        """What a loss says of it: the loss itself, and how often the right one is the most probable."""
        return ("loss",) if self.loss == "squared_error" else ("loss", self.accuracy_name)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a batch that it needs."""
        return (self.targets,) if self.weights is None else (self.targets, self.weights)


def token_output(side: Side, name: str = "tokens") -> Output:
    """Return an output with one target at each position of a side."""
    targets, weights = f"{side}_target_tokens", f"{side}_loss_weights"
    return Output(name, targets, weights, accuracy_name="token_accuracy")

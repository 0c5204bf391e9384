"""What the configurations of data have in common that fine-tune an encoder-only model with one head."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from t5lite.core.architectures import SIDES_OF, writes
from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.data.examples.framed_inputs import NUM_FRAMING, Overlong
from t5lite.data.examples.source_config import SourceConfig
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class EncoderDataConfig(SourceConfig):
    """Pairs of a pair store that train a head of an encoder-only model; a subclass says which and how."""

    store: str
    """Directory of a pair store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 128
    """Tokens of a row, [CLS] and [SEP] included."""

    overlong: Overlong = "truncate"
    """Cut what does not fit, or leave the pair out."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    head: ClassVar[str]
    """The head that they train."""
    label_fields: ClassVar[frozenset[str]]
    """The batch fields that say what is right."""

    def __post_init__(self):
        expand_fields(self, "store")
        if self.inputs_length <= NUM_FRAMING:
            raise ConfigError(f"inputs_length={self.inputs_length} must be at least 3: [CLS], a token, [SEP]")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")

    @property
    def is_text(self) -> bool:
        """Whether the store is running text; it is not."""
        return False

    @property
    def drops_overlong(self) -> bool:
        """As ``overlong`` says."""
        return self.overlong == "drop"

    def held_out(self, store: str) -> Self:
        """Return how another store is measured: a pair that is too long is cut, not left out."""
        return dataclasses.replace(super().held_out(store), overlong="truncate")

    def check_model(self, architecture: str, head: str) -> None:
        """Check that the model has the head."""
        if writes(architecture) or head != self.head:
            raise ConfigError(
                f"{type(self).__name__} trains an encoder-only model with head={self.head!r}, and has no "
                f"labels for model.head={head!r}; use that head, or other data"
            )

    def columns(self) -> dict[str, TokenStore]:
        """Return inputs and targets."""
        pairs = PairStore.open(self.store)
        return {"inputs": pairs.inputs, "targets": pairs.targets}

    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return the lengths without what frames a text; targets have no row."""
        del architecture, vocabulary
        return {"inputs": self.inputs_length - NUM_FRAMING, "targets": 0}

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields: rows are never full, so there are segment ids."""
        encoder_length, _ = self.lengths(architecture)
        fields = self.label_fields | {"encoder_input_tokens", "encoder_segment_ids"}
        return BatchSpec(fields=fields, encoder_length=encoder_length)

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return the encoder's length; errors as of ``SourceConfig``."""
        if SIDES_OF[architecture] != ("encoder",):
            raise ConfigError(f"{type(self).__name__} trains encoder-only models; this one is {architecture}")
        return self.inputs_length, 0

    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a pair."""
        del prefix
        return Prompt(vocabulary.encode(text), ends=True)

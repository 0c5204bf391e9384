"""What a configuration of data answers about its sources, one or several."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError
from t5lite.data.examples.protocol import Examples
from t5lite.data.opening import Opening
from t5lite.data.prompt import Prompt
from t5lite.data.source_pipeline import Pipeline, open_source
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Frame, Vocabulary


@dataclass(frozen=True, kw_only=True)
class SourceConfig(ABC):
    """A single source: a mixture of it alone, under the name "data"."""

    store: str
    """Directory of its store."""
    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    @property
    def named_sources(self) -> dict[str, Self]:
        """The sources by name."""
        return {"data": self}

    @property
    def packs_rows(self) -> bool:
        """Whether a row may hold several examples."""
        return False

    @property
    def store_options(self) -> dict[str, str]:
        """The places of the stores, by what they are called on the command line."""
        return {"store": self.store}

    @property
    def store_fields(self) -> dict[tuple[str, ...], str]:
        """The places of the stores, by the path of their field."""
        return {("store",): self.store}

    def with_stores(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with ``change`` of every place."""
        return dataclasses.replace(self, store=change(self.store))

    def with_lengths_of_pairs(self, *, inputs_length: int, targets_length: int) -> Self:
        """Return this configuration with the lengths that a task of pairs has.

        Raises:
          ConfigError: if it is not of pairs.
        """
        raise ConfigError(
            f"a task is of pairs (inputs_length={inputs_length}, targets_length={targets_length}), and data "
            f"is {self.kind}; give a recipe with PairsDataConfig, such as configs/finetune_task.py"
        )

    def with_token_types(self, token_types: bool) -> Self:
        """Return this configuration for models that have, or have not, types to tell two texts apart."""
        del token_types
        return self

    def with_answers(self, **said: Any) -> Self:
        """Return this configuration with what is said of answers that are pointed at in a context.

        Raises:
          ConfigError: if there are none.
        """
        raise ConfigError(
            f"only questions with answers in a context have {' and '.join(said)}, and the data is "
            f"{self.kind}; leave that out"
        )

    @property
    @abstractmethod
    def kind(self) -> str:
        """What its examples are called."""

    @property
    def remark(self) -> str | None:
        """What there is to say of its examples besides; None for nothing."""
        return None

    def unreached(self, examples: int) -> str | None:
        """Return what to say of settings that begin only after so many examples; None where there is none."""
        del examples
        return None

    def open(self, opening: Opening) -> Pipeline:
        """Open the source by itself; errors as of ``open_pipeline``."""
        return open_source(self, opening)

    @abstractmethod
    def open_examples(self, opening: Opening) -> Examples:
        """Return its examples; errors as of ``open_pipeline``."""

    def held_out(self, store: str) -> Self:
        """Return how another store is measured: once, in whole examples, of which none is left out."""
        return dataclasses.replace(self, store=store, max_epochs=None)

    @property
    def is_text(self) -> bool:
        """Whether the store is running text, of which an objective makes inputs and targets."""
        return self.answer_length is None

    def source_named(self, name: str | None, *, field: str) -> Self:
        """Return the source that a field names; a single one has no name.

        Raises:
          ConfigError: for a name.
        """
        if name is not None:
            raise ConfigError(f"{field}={name!r} names a source, but data is no mixture; set it to None")
        return self

    @abstractmethod
    def check_model(self, architecture: str, head: str) -> None:
        """Check that there are labels for such models.

        Args:
          architecture: of the model.
          head: of an encoder-only model; the others are language models.

        Raises:
          ConfigError: naming what would do.
        """

    def classifies(self, architecture: str) -> bool:
        """Whether such models learn which of several classes an example is of."""
        del architecture
        return False

    @abstractmethod
    def columns(self) -> dict[str, TokenStore]:
        """Return the documents of the store, by what they are to an example.

        Raises:
          DataError: if the store cannot be used.
        """

    @abstractmethod
    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return how many tokens of a document of each column fit a row; 0 where it has no row of its own.

        Args:
          architecture: of the model that reads them.
          vocabulary: of the store.
        """

    @property
    def drops_overlong(self) -> bool:
        """Whether examples that do not fit are left out, not cut."""
        return False

    @abstractmethod
    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields of a batch for such models.

        Raises:
          ConfigError: as of ``lengths``.
        """

    @abstractmethod
    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return (encoder, decoder) lengths of the batch fields.

        Raises:
          ConfigError: if it does not train such models, or a length leaves no room.
        """

    @property
    def answer_length(self) -> int | None:
        """Tokens of a target, EOS included; None: what is written shares a row with what it continues."""
        return None

    @property
    def keeps_own_frame(self) -> bool:
        """Whether the inputs of an encoder-decoder stand in the vocabulary's own frame, where it has one."""
        return False

    def frame_of(self, vocabulary: Vocabulary) -> Frame | None:
        """Return what surrounds the inputs of an encoder-decoder; None: EOS behind."""
        return vocabulary.own_frame if self.keeps_own_frame else None

    @abstractmethod
    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a text as the examples have them.

        Args:
          text: with sentinels, or a mode where the objective has any.
          vocabulary: of the store.
          prefix: what a text that is only continued begins with.
        """

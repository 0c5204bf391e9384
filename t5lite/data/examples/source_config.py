"""What a configuration of data answers about its sources, one or several."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class SourceConfig(ABC):
    """A single source: a mixture of it alone, under the name "data"."""

    store: str
    """Directory of its store."""

    @property
    def named_sources(self) -> dict[str, Self]:
        """The sources by name."""
        return {"data": self}

    @property
    def store_fields(self) -> dict[tuple[str, ...], str]:
        """The places of the stores, by the path of their field."""
        return {("store",): self.store}

    def with_stores(self, change: Callable[[str], str]) -> Self:
        """Return this configuration with ``change`` of every place."""
        return dataclasses.replace(self, store=change(self.store))

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

    @abstractmethod
    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a text as the examples have them.

        Args:
          text: with sentinels, or a mode where the objective has any.
          vocabulary: of the store.
          prefix: what a text that is only continued begins with.
        """

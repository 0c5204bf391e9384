"""What a configuration of data answers about its sources, one or several."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
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

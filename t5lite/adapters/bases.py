"""The model that an adapter was trained beside, by name and by what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.core.strict_json import StrictJson

_KEY = "base"
_JSON = StrictJson()


@dataclass(frozen=True, kw_only=True)
class Base:
    """The checkpoint that has the model of an adapter."""

    run: str
    """Its run directory."""
    step: int
    digest: str
    """Of its parameters (``checkpointing.reading.parameters_digest``)."""

    def to_json(self) -> dict[str, Any]:
        """Return what the metadata of an adapter's checkpoint says of it."""
        return {_KEY: _JSON.unstructure(self, Base)}

    @classmethod
    def from_json(cls, metadata: Mapping[str, Any]) -> "Base | None":
        """Return what the metadata of a checkpoint names; None of a checkpoint that is whole.

        Raises:
          ValueError: if it is damaged.
        """
        if _KEY not in metadata:
            return None
        try:
            return _JSON.structure(metadata[_KEY], cls, name=_KEY)
        except ConfigError as error:
            raise ValueError(str(error)) from error

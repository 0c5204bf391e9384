"""Versions of JSON files: old ones are migrated step by step, newer ones refused by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from t5lite.core.errors import ConfigError, NewerVersionError

_KEY = "version"

Migration: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Content of one version to content of the next.

What no file of its version could say is a ``ConfigError``."""


@dataclass(frozen=True)
class Versions:
    """The versions of one kind of file; files that say none are of version 0."""

    migrations: Mapping[int, Migration]
    """By the version that is migrated, from 0 on without a gap."""

    @property
    def current(self) -> int:
        """The version that is written."""
        return len(self.migrations)

    def stamped(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of a file of the current version."""
        return {_KEY: self.current, **content}

    def migrated(self, content: Any, *, name: str) -> Any:
        """Return what a file of the current version would say, without its version.

        Args:
          content: of the file; what is no object is returned as it is.
          name: of the file, for messages.

        Raises:
          NewerVersionError: if the file is of one.
          ConfigError: if its version is no number, or says what no file of its version could.
        """
        if not isinstance(content, dict):
            return content
        version = content.get(_KEY, 0)
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise ConfigError(f"{name} is damaged: its version is {version!r}, not a number")
        if version > self.current:
            raise NewerVersionError(
                f"{name} was written by a newer t5lite: it has version {version}, and this one reads up to "
                f"{self.current}; upgrade t5lite"
            )
        content = {key: value for key, value in content.items() if key != _KEY}
        for number in range(version, self.current):
            try:
                content = self.migrations[number](content)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
        return content


def unchanged(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate a file in which nothing but the version has changed."""
    return content

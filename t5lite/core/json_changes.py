"""In which fields two JSON values differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TYPE = "type"


@dataclass(frozen=True)
class Change:
    """A field that differs."""

    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def field(self) -> str:
        """The field's name from the top, with dots."""
        return ".".join(self.path)

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.before)} → {_shown(self.after)}"


def json_changes(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """Yield the fields in which two JSON values differ, sorted, as deep as both have them.

    Objects of two ``type``s have nothing in common and are one change. Lists of objects with names are
    compared name by name, in whatever order they stand.
    """
    if isinstance(before, dict) and isinstance(after, dict) and before.get(_TYPE) == after.get(_TYPE):
        for key in sorted(before.keys() | after.keys()):
            yield from json_changes(before.get(key), after.get(key), (*path, str(key)))
        return
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        before, after = list(before), list(after)
        if before and after and all(isinstance(item, dict) and "name" in item for item in before + after):
            old, new = ({item["name"]: item for item in each} for each in (before, after))
            yield from json_changes(old, new, path)
            return
    if before != after:
        yield Change(path, before, after)


def _shown(value: Any) -> str:
    return str(value[_TYPE]) if isinstance(value, dict) and _TYPE in value else repr(value)

"""Lookup in the explicit tables (``dict`` literals) by which packages name their entries.

A new architecture, objective, optimizer or format is one new file and one line in such a table;
there is no registration by side effect of an import.
"""

from collections.abc import Mapping
from typing import TypeVar

from t5lite.core.errors import ConfigError, suggestion

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, *, kind: str) -> T:
    """Return ``table[name]``.

    Args:
      table: the package's explicit table.
      name: what the user wrote.
      kind: what the entries are, in the singular ("preset"), for the message.

    Raises:
      ConfigError: for an unknown name, with the closest entry and the whole list.
    """
    try:
        return table[name]
    except KeyError:
        raise ConfigError(f"unknown {kind} {name!r}{suggestion(name, table)}") from None

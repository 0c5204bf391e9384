"""Tables of what there is: a package's kinds are the classes that its ``__init__`` imports.

A new architecture, objective, optimizer or task is one new file and the line that imports it there
(docs/extending.md); JSON, the command line and messages follow from the table.
"""

import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any, TypeVar

from t5lite.core.errors import ConfigError, suggestion

T = TypeVar("T")


def union_of(base: type, names: Mapping[str, Any]) -> Any:
    """Return the union of the kinds of ``base`` that a module has: what a field of that type may hold.

    To a type checker such a field is a ``base``, which is all that may be asked of any of its kinds.

    Args:
      base: answers for all of them; no kind itself.
      names: of the module, ``globals()``.
    """
    values = (value for value in names.values() if isinstance(value, type) and issubclass(value, base))
    return reduce(operator.or_, (kind for kind in values if kind is not base))


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

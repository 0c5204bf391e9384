"""``~`` at the beginning of a path that a user gave, in a command or in a recipe.

A shell expands it only where it stands alone: not in ``--run=~/runs/a``, and not in a recipe.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

from t5lite.core.errors import ConfigError

PathT = TypeVar("PathT", str, Path)


def expand_home(path: PathT) -> PathT:
    """Return ``path`` with ``~`` and ``~user`` replaced by the home directory; others as they are.

    Raises:
      ConfigError: if there is no such home directory, or for an empty or blank text.
    """
    text = str(path)
    if not text.strip():
        raise ConfigError("a path is empty: is a shell variable not set? The current directory is .")
    if not text.startswith("~"):
        return path
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = text.partition("/")[0]
        problem = (
            "you have no home directory (HOME is not set, and the system does not know this user)"
            if user == "~"
            else f"there is no user {user[1:]!r}"
        )
        raise ConfigError(
            f"{text} cannot be found: {problem}; give the whole path, or ./{text} if it begins so"
        )
    return type(path)(expanded)


def expanded_path(text: str) -> Path:
    """Return what a user typed as a path, ``~`` expanded.

    Raises:
      ConfigError: if there is no such home directory.
    """
    return Path(expand_home(text))


def expand_fields(config: Any, *names: str) -> None:
    """Expand ``~`` in fields of a frozen dataclass: paths, tuples of them, or None.

    Raises:
      ConfigError: if there is no such home directory.
    """
    for name in names:
        value = getattr(config, name)
        if isinstance(value, tuple):
            object.__setattr__(config, name, tuple(map(expand_home, value)))
        elif value is not None:
            object.__setattr__(config, name, expand_home(value))

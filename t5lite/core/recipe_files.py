"""Reading a recipe: a Python file is executed, and what it raises is said in one line."""

import dataclasses
import difflib
import runpy
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from t5lite.core.errors import ConfigError, UserError

T = TypeVar("T")


def run_recipe(path: Path, kind: type[T], *, function: str = "config", returns: str = "RunConfig") -> T:
    """Return what ``config()`` of a recipe returns.

    Args:
      path: of the file.
      kind: what it must return.
      function: another one than ``config``.
      returns: what ``kind`` is called in messages.

    Raises:
      ConfigError: if the file is not valid Python, defines no such function, raises anything, or returns
        something else than a ``kind``.
    """
    try:
        make = runpy.run_path(str(path)).get(function)
        config = make() if callable(make) else None
    except SyntaxError as error:
        raise ConfigError(f"recipe {path} is not valid Python: {error}") from error
    except SystemExit as stop:  # else the command would end with its code, as if it had done its work
        raise ConfigError(
            f"recipe {path} ends the program (SystemExit: {stop.code}); it must define {function}()"
        ) from stop
    except Exception as error:  # whatever the user's code raises
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        place = f"recipe {path}, line {lines[-1]}" if lines else f"recipe {path}"
        said = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise ConfigError(f"{place}: {said}{error}{_close_name(error)}") from error
    if not callable(make):
        raise ConfigError(f"recipe {path} does not define {function}(); it must return a {returns}")
    if not isinstance(config, kind):
        raise ConfigError(
            f"recipe {path}: {function}() returned {type(config).__name__}; it must return a {returns}"
        )
    for place, said in _slips(config):
        raise ConfigError(f"recipe {path}: {place} {said}")
    return config


def _slips(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield fields whose values are slips of Python that no class of a configuration can refuse."""
    if isinstance(value, type):
        yield place, f"is the class {value.__name__}; write {value.__name__}(...), with its parentheses"
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _slips(getattr(value, field.name), f"{place}.{field.name}".lstrip("."))
    elif isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                yield place, f"has the name {name!r}, which must be a string"
            yield from _slips(each, f"{place}[{name!r}]")
    elif isinstance(value, (tuple, list)):
        for number, each in enumerate(value):
            yield from _slips(each, f"{place}[{number}]")


def _close_name(error: Exception) -> str:
    """Return which name of a module was probably meant, such as one of ``t5lite.recipe``."""
    close: list[str] = []
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        close = difflib.get_close_matches(str(error.name), dir(error.obj), n=1)
    elif isinstance(error, NameError):  # as pasted from a page, without the module in front of it
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        modules = {name: each for name, each in frame.f_globals.items() if isinstance(each, ModuleType)}
        close = [f"{name}.{error.name}" for name, each in modules.items() if hasattr(each, str(error.name))]
    return f"; did you mean {close[0]!r}?" if close else ""

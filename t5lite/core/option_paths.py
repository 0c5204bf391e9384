"""Options that name a field by its path, checked against the value that they are to change.

``tyro`` offers the fields of the classes that a value has, and says of others that it does not know them.
Which class a part has is chosen where the value is made: this says so, and where a field is instead.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from t5lite.core.errors import ConfigError


def check_option_paths(
    value: Any, words: Sequence[str], *, renamed: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Check that no option is of another class than a part of ``value`` has, or of another place.

    Args:
      value: a dataclass, whose parts may be dataclasses.
      words: of the command line; what else may be wrong with them is not looked for.
      renamed: options that there were, each with the words that say the same now.

    Raises:
      ConfigError: saying what the part is, or where the field is.
    """
    for word in words:
        option = word.partition("=")[0]
        if not option.startswith("--"):
            continue
        if now := (renamed or {}).get(option.replace("_", "-")):
            for each in now:  # which may be of another class
                _check_option(value, each.partition(" ")[0])
            raise ConfigError(f"there is no {option}; use {' and '.join(now)}")
        _check_option(value, option)


def as_flags(value: Any, words: Sequence[str]) -> list[str]:
    """Return the words with ``--PATH True`` and ``False``, as messages and JSON have it, as ``tyro``'s flags.

    Args:
      value: a dataclass, as of ``check_option_paths``.
      words: of the command line.

    Raises:
      ConfigError: for another value of a flag's.
    """
    flags, rest = list[str](), list(words)
    while rest:
        word = rest.pop(0)
        option, equals, said = word.partition("=")
        path = option.removeprefix("--").split(".")
        if option.startswith("--") and isinstance(_at(value, path), bool):
            has_value = equals or (rest and not rest[0].startswith("--"))
            given = (said if equals else rest[0]) if has_value else "True"
            if given.capitalize() not in ("True", "False"):
                raise ConfigError(f"{option} {given!r} must be True or False; {option} alone says True")
            if has_value and not equals:
                del rest[0]
            name = path[-1] if given.capitalize() == "True" else f"no-{path[-1]}"
            word = "--" + ".".join([*path[:-1], name])
        flags.append(word)
    return flags


def _at(value: Any, path: Sequence[str]) -> Any:
    """Return the part of a dataclass, mapping or tuple at a path of the command line's; None if none is."""
    for name in path:
        if isinstance(value, tuple):
            value = {str(place): each for place, each in enumerate(value)}
        value = (
            value.get(name) if isinstance(value, Mapping) else getattr(value, name.replace("-", "_"), None)
        )
    return value


def _check_option(value: Any, option: str) -> None:
    _check(value, option, option[2:].replace("-", "_").split("."))


def _check(value: Any, option: str, path: list[str]) -> None:
    part, kinds = value, ()
    for depth, name in enumerate(path):
        if part is None and kinds:
            raise ConfigError(
                f"{option}: the recipe's {'.'.join(path[:depth])} is None; say it there: "
                f"{path[depth - 1]}={kinds[0].__name__}(…)"
            )
        if isinstance(part, tuple) and part and dataclasses.is_dataclass(part[0]):
            _check_place(option, path, depth, len(part))
            part, kinds = part[int(name)], ()
            continue
        if not dataclasses.is_dataclass(part):
            return
        own = [field.name for field in dataclasses.fields(part)]
        if name.removeprefix("no_") in own and name not in own:  # of a flag
            return
        if name not in own:
            _refuse_other_kind(option, path, depth, part, kinds)
            _refuse_other_place(option, value, name)
            return
        kinds = _kinds(get_type_hints(type(part))[name])
        part = getattr(part, name)
    if not dataclasses.is_dataclass(part):
        return
    if len(kinds) > 1:
        names = " or ".join(kind.__name__ for kind in kinds)
        fields = [_option([*path, field.name]) for field in dataclasses.fields(part)]
        raise ConfigError(
            f"{option}: the recipe says which of {names} it is, here {type(part).__name__}"
            + (f", whose fields are set by {', '.join(fields)}" if fields else "")
        )
    _refuse_other_place(option, value, path[-1])


def _check_place(option: str, path: Sequence[str], depth: int, count: int) -> None:
    """Check that a path goes to one of ``count`` parts, which the command line names by their places."""
    places = list(map(str, range(count)))
    if path[depth] not in places:
        raise ConfigError(
            f"{option}: {'.'.join(path[:depth])} has the places {', '.join(places)}; use one of them, as in "
            f"{_option([*path[:depth], places[0], *path[depth + 1 :]])}"
        )


def _kinds(hint: Any) -> tuple[type[Any], ...]:
    """Return the classes of which a field may have one; none where it always has the same."""
    return tuple(kind for kind in get_args(hint) if isinstance(kind, type) and dataclasses.is_dataclass(kind))


def _refuse_other_kind(
    option: str, path: Sequence[str], depth: int, part: Any, kinds: Sequence[type[Any]]
) -> None:
    name, place = path[depth], ".".join(path[:depth])
    having = [kind.__name__ for kind in kinds if name in {field.name for field in dataclasses.fields(kind)}]
    if having:
        inside = [leaf for leaf in _leaves(part) if leaf[-len(path[depth:]) :] == [*path[depth:]]]
        near = get_close_matches(name, [field.name for field in dataclasses.fields(part)], n=1)
        remedy = f"which it is, the recipe says: {place.rpartition('.')[2]}={having[0]}(…)"
        if near:
            remedy = f"did you mean {_option([place, *near])}?"
        if inside:  # of a mixture, whose sources have it
            remedy = f"use {' or '.join(_option([*path[:depth], *leaf]) for leaf in inside)}"
        of = " or ".join(having)
        raise ConfigError(f"{option} is of {of}, and the recipe's {place} is {type(part).__name__}; {remedy}")


def _refuse_other_place(option: str, value: Any, name: str) -> None:
    """Refuse an option whose field is elsewhere, if it is in one place."""
    places = [path for path in _leaves(value) if path[-1] == name]
    if len(places) == 1:
        raise ConfigError(f"there is no {option}; use {_option(places[0])}")


def _leaves(value: Any) -> Iterator[list[str]]:
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        parts = {(): part}
        if isinstance(part, tuple) and part and dataclasses.is_dataclass(part[0]):
            parts = {(str(place),): each for place, each in enumerate(part)}
        for place, each in parts.items():
            inner = _leaves(each) if dataclasses.is_dataclass(each) else [[]]
            yield from ([field.name, *place, *path] for path in inner)


def _option(path: Sequence[str]) -> str:
    return f"--{'.'.join(path).replace('_', '-')}"

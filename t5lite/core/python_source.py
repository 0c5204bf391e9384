"""Configurations as Python source, laid out as ruff does, so that a written recipe needs no formatter."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 110
"""Columns of a line of this repository."""
_INDENT = 4
_LONG = 10_000
"""Whole numbers from here on are written with underscores."""

Named = Callable[[Any], str | None]
"""Returns the expression by which a value is known, such as ``r.preset("t5-small")``, or None."""


@dataclass(frozen=True)
class _Brackets:
    """An expression that may be broken into lines after its opening bracket."""

    opening: str
    items: tuple[tuple[str, "str | _Brackets"], ...]
    """What stands before each value, such as ``fsdp=``, and the value."""
    closing: str

    @property
    def flat(self) -> str:
        """The expression on one line."""
        return f"{self.opening}{self.inside}{self.closing}"

    @property
    def inside(self) -> str:
        """The items on one line."""
        joined = ", ".join(before + _flat(value) for before, value in self.items)
        return joined + "," * (self.opening == "(" and len(self.items) == 1)


def python_source(
    value: Any, *, prefix: str = "", named: Named = lambda value: None, indent: int = 0, column: int = 0
) -> str:
    """Return an expression that makes a configuration: fields that have their default are left out.

    Args:
      value: a dataclass, or what their fields hold: tuples, mappings, strings, numbers, truths and None.
      prefix: before the names of classes, such as ``r.``.
      named: what is said by a name.
      indent: columns that the line is indented by, in which the expression begins.
      column: where in the line it begins.

    Raises:
      TypeError: for a value of another kind.
    """
    node = _node(value, prefix, named)
    return _laid_out(node, indent=indent, column=column)


def chosen_fields(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that have another value than their default."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.init and getattr(config, field.name) != _default(field)
    }


def _default(field: "dataclasses.Field[Any]") -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _node(value: Any, prefix: str, named: Named) -> "str | _Brackets":
    if (name := named(value)) is not None:
        return name
    if dataclasses.is_dataclass(value):
        items = ((f"{name}=", _node(each, prefix, named)) for name, each in chosen_fields(value).items())
        return _Brackets(f"{prefix}{type(value).__name__}(", tuple(items), ")")
    if isinstance(value, Mapping):
        items = ((f"{_quoted(name)}: ", _node(each, prefix, named)) for name, each in value.items())
        return _Brackets("{", tuple(items), "}")
    if isinstance(value, tuple):
        return _Brackets("(", tuple(("", _node(each, prefix, named)) for each in value), ")")
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) >= _LONG else str(value)
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    raise TypeError(f"{value!r} is no value of a configuration")


def _quoted(text: str) -> str:
    """Return a string between the quotes that ruff prefers; JSON's escapes are Python's, too."""
    return json.dumps(text, ensure_ascii=False)


def _laid_out(node: "str | _Brackets", *, indent: int, column: int) -> str:
    """Return the lines of a node that begins at a column and is followed by one character, a comma."""
    if isinstance(node, str) or column + len(node.flat) + 1 <= WIDTH or not node.items:
        return _flat(node)
    return "\n".join([node.opening, *_lines(node, indent + _INDENT), " " * indent + node.closing])


def _lines(node: _Brackets, indent: int) -> Iterator[str]:
    margin = " " * indent
    if indent + len(node.inside) <= WIDTH:
        yield margin + node.inside
        return
    for before, value in node.items:
        yield f"{margin}{before}{_laid_out(value, indent=indent, column=indent + len(before))},"


def _flat(node: "str | _Brackets") -> str:
    return node if isinstance(node, str) else node.flat

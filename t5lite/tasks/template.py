"""Text with the values of fields in it: ``hypothesis: {hypothesis} premise: {premise}``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from t5lite.core.errors import ConfigError

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


@dataclass(frozen=True)
class Template:
    """A template; everything between single braces is the name of a field, whatever its characters.

    Nothing is looked up in a value or formatted: ``{answers.text.0}`` is a field of that name. ``{{`` and
    ``}}`` are braces.
    """

    parts: tuple[tuple[str, bool], ...]
    """Texts, and whether each is a field's name."""

    @classmethod
    def parse(cls, text: str, *, name: str) -> "Template":
        """Read a template; messages call it ``name``.

        Raises:
          ConfigError: for a brace alone, or a field without a name.
        """
        parts: list[tuple[str, bool]] = []
        for found in _PART.finditer(text):
            part, field = found[0], found[1]
            if field is not None and field.strip():
                parts.append((field.strip(), True))
            elif field is not None:
                raise ConfigError(
                    f"{name} has braces without a field's name at character {found.start() + 1} of {text!r}; "
                    "write {FIELD}, or {{ and }} for braces"
                )
            elif part in ("{", "}"):
                raise ConfigError(
                    f"{name} has a {part!r} alone at character {found.start() + 1} of {text!r}; write "
                    f"{{FIELD}}, or {part * 2} for a brace"
                )
            else:
                parts.append((part[0] if part in ("{{", "}}") else part, False))
        return cls(tuple(parts))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it names, each once."""
        return tuple(dict.fromkeys(text for text, is_field in self.parts if is_field))

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with the values of the fields, which are taken as they are."""
        return "".join(values[text] if is_field else text for text, is_field in self.parts)

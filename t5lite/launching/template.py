"""Texts with ``@NAME@`` in them: what a shell or a YAML reader takes for its own is left alone."""

import re
from importlib import resources

_PLACE = re.compile(r"@([A-Z0-9_]+)@")


def fill(template: str, **values: object) -> str:
    """Return a text of ``templates/`` with every ``@NAME@`` replaced, in one pass: a value is not read again.

    Raises:
      KeyError: if a place has no value, or a value no place: template and caller are not of one version.
    """
    text = resources.files("t5lite.launching").joinpath("templates", template).read_text(encoding="utf-8")
    places = set(_PLACE.findall(text))
    if odd := places ^ values.keys():
        raise KeyError(f"{template}: {', '.join(sorted(odd))}")
    return _PLACE.sub(lambda match: str(values[match[1]]), text)

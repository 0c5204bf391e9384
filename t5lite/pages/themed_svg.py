"""A figure as SVG within a page: its text is the page's, and its colours follow the reader's light or dark.

matplotlib draws in fixed colours; each becomes a variable that is named after it, of which the page has both
values. So a figure is there once, and sharp at every width.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_COLOR = re.compile(r"#[0-9a-f]{6}(?=[;\"'])")
_SIZE = re.compile(r'<svg [^>]*?viewBox="(?P<box>[^"]+)"[^>]*>')
_FONT = re.compile(r"font: (?P<size>[\d.]+px) [^;\"]+")
_ID = re.compile(r' id="[a-z]+[0-9]*_[0-9]+"')
_TAG = re.compile(r"<[^>]*>")
_COORDINATE = re.compile(r"(?<=[ \"])(?<!: )(-?\d+\.\d)\d+")
"""None of a style, such as ``opacity: 0.15``."""


@contextmanager
def plain_text(salt: str = "t5lite") -> Iterator[None]:
    """Draw texts as they are: a dollar begins no formula, and a script that the font lacks is no warning."""
    settings: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": salt}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def themed_svg(figure: Figure, *, name: str, says: str) -> str:
    """Return an ``svg`` element.

    Args:
      figure: in light colours.
      name: that no other figure of the page has.
      says: what it shows, for those who do not see it.
    """
    buffer = io.StringIO()
    with plain_text(name):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None})
    content = buffer.getvalue()
    content = content[content.index("<svg ") :]
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    content = _TAG.sub(lambda found: _themed(found[0]), content)  # texts stay as they are
    label = f'role="img" aria-label="{escape(says)}"'
    return _SIZE.sub(lambda found: f'<svg viewBox="{found["box"]}" {label}>', content, count=1).strip()


def _themed(tag: str) -> str:
    tag = _ID.sub("", tag)
    tag = _FONT.sub(lambda found: f"font-size: {found['size']}", tag)
    tag = _COLOR.sub(lambda found: f"var({variable(found[0])})", tag)
    return _COORDINATE.sub(r"\1", tag)


def variable(color: str) -> str:
    """Return the name of the variable of a light colour."""
    return f"--c{color[1:]}"


def colors_used(page: str) -> list[str]:
    """Return the light colours that the figures of a page have, in order."""
    return sorted({f"#{each}" for each in re.findall(r"var\(--c([0-9a-f]{6})\)", page)})


def theme_css(pairs: Mapping[str, str]) -> str:
    """Return both values of variables, of light colours with their dark ones."""
    light = " ".join(f"{variable(each)}: {each};" for each in pairs)
    dark = " ".join(f"{variable(each)}: {other};" for each, other in pairs.items())
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"

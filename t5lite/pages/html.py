"""One HTML page that needs no network and no script, and its parts."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources


def document(title: str, body: Iterable[str], *, css: str) -> str:
    """Return the whole page; ``css`` comes after the style of all pages."""
    common = (resources.files("t5lite.pages") / "assets" / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{common}{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def tiles(shown: Iterable[tuple[str, str]]) -> str:
    """Return the few numbers that matter most, each with what it is."""
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in shown
    )
    return f'<div class="tiles">{cells}</div>'


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """Return a table of cells that are HTML already; ``classes`` name the columns' classes."""
    names = [f' class="{name}"' if name else "" for name in classes] or [""] * len(headers)
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(
        "<tr>" + "".join(f"<td{name}>{cell}</td>" for name, cell in zip(names, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(known: Mapping[str, str]) -> str:
    """Return names with what is to be said of them."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in known.items()) + "</dl>"

"""Pictures of a compiled step: SVGs that stand alone and follow the reader's light or dark setting."""

from collections.abc import Sequence
from html import escape

from t5lite.planning.report.summary import Summary
from t5lite.planning.report.table import KINDS, duration, size

_COLOURS = ("#4269d0", "#ff725c", "#6cc5b0", "#efb118", "#a463f2", "#9498a0")
_BAR_WIDTH, _BAR_HEIGHT, _LABEL_WIDTH = 620, 22, 190
_STYLE = (
    ".step-text{fill:#1b1e23;font:13px system-ui,sans-serif}.step-limit{stroke:#d4351c;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){.step-text{fill:#c9ced6}}"
)


def memory_picture(summary: Summary) -> str:
    """Return an SVG: the parts of memory in one bar, with a line at what there is."""
    memory = summary["memory"]
    whole = max(memory["needed"], memory["available"])
    parts, legend, start = [], [], 0.0
    for number, (kind, name) in enumerate(KINDS.items()):
        width = memory[kind] / whole * (_LABEL_WIDTH + _BAR_WIDTH)
        parts.append(_rect(start, 8, width, 34, _COLOURS[number], f"{name}: {size(memory[kind])}"))
        column, row = number % 3, number // 3
        x, y = column * 270, 66 + row * 22
        legend.append(_rect(x, y - 11, 12, 12, _COLOURS[number], name))
        legend.append(_label(x + 18, y, f"{name} {size(memory[kind])}"))
        start += width
    limit = memory["available"] / whole * (_LABEL_WIDTH + _BAR_WIDTH) - 1
    line = f'<line class="step-limit" x1="{limit:.1f}" x2="{limit:.1f}" y1="2" y2="48"/>'
    label = f"memory: {size(memory['needed'])} of {size(memory['available'])}"
    return _svg(label, 96, [*parts, line, *legend])


def time_picture(summary: Summary) -> str:
    """Return an SVG: a bar for the time of every resource, and one for the step as it is scheduled.

    Figures that were kept before there was a schedule have none.
    """
    times, scheduled = summary["time"]["by_resource"], summary["time"].get("scheduled")
    if scheduled is not None:
        times = {**times, "as scheduled": scheduled}
    longest = max(times.values())
    shapes, colours = [], {summary["time"]["limiting"]: _COLOURS[0], "as scheduled": _COLOURS[1]}
    for number, (name, seconds) in enumerate(times.items()):
        y = number * (_BAR_HEIGHT + 6)
        width = seconds / longest * (_BAR_WIDTH - 90)
        shapes.append(_label(0, y + 16, name))
        shapes.append(_rect(_LABEL_WIDTH, y, width, _BAR_HEIGHT, colours.get(name, _COLOURS[5]), name))
        shapes.append(_label(_LABEL_WIDTH + width + 8, y + 16, duration(seconds)))
    return _svg("time of a step by resource", len(times) * (_BAR_HEIGHT + 6), shapes)


def _label(x: float, y: float, text: str) -> str:
    return f'<text class="step-text" x="{x:.1f}" y="{y}">{escape(text)}</text>'


def _svg(label: str, height: int, shapes: Sequence[str]) -> str:
    width = _LABEL_WIDTH + _BAR_WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}"><style>{_STYLE}</style>{"".join(shapes)}</svg>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )

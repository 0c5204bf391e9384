"""What the figures of all pages share, on matplotlib ``Figure`` objects: no pyplot, no global state.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a page embeds a light and a dark
version of the same figure.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

WIDTH, FONT, DPI = 5.5, 11.0, 180


@dataclass(frozen=True)
class Theme:
    """Colours of one figure, Okabe and Ito's where they tell things apart."""

    background: str
    ink: str
    muted: str
    grid: str
    blue: str
    pale_blue: str
    orange: str
    green: str


LIGHT = Theme("#ffffff", "#1c2127", "#667080", "#e6e9ed", "#0072b2", "#a9cfe6", "#d55e00", "#00795c")
DARK = Theme("#171b21", "#e8ebef", "#9aa5b3", "#2b323b", "#56b4e9", "#2c5f80", "#f08a4b", "#2fc79b")


def png(figure: Figure) -> bytes:
    """Return the figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move label positions apart until neighbours are ``gap`` apart, keeping order and centre.

    >>> spread([1.0, 1.0, 5.0], 2.0)
    [0.0, 2.0, 5.0]
    """
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    clusters: list[tuple[float, int]] = []  # (centre, members), in order, each `gap` wide a member
    for index in order:
        centre, size = positions[index], 1
        while clusters and centre - clusters[-1][0] < gap * (size + clusters[-1][1]) / 2:
            below, below_size = clusters.pop()
            centre = (centre * size + below * below_size) / (size + below_size)
            size += below_size
        clusters.append((centre, size))
    placed = [centre + gap * (i - (size - 1) / 2) for centre, size in clusters for i in range(size)]
    result = [0.0] * len(positions)
    for index, value in zip(order, placed, strict=True):
        result[index] = value
    return result


def canvas(theme: Theme, *, height: float, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty chart: horizontal grid, no box, the y label above the axis, where it is read."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(WIDTH, height), layout=layout, facecolor=theme.background)
    axes = figure.subplots()
    axes.set_facecolor(theme.background)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.tick_params(colors=theme.muted, labelsize=FONT - 1, length=0, pad=5)
    axes.grid(axis="y", color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=theme.muted, fontsize=FONT)
    axes.set_title(ylabel, loc="left", color=theme.muted, fontsize=FONT, pad=10)
    return figure, axes


def label_right(axes: Axes, labels: Sequence[tuple[str, float, str]]) -> None:
    """Write (text, y, colour) labels beside the right edge, moved apart where they would touch."""
    low, high = axes.get_ylim()
    rows = [1 + text.count("\n") for text, _, _ in labels]
    gap = 0.068 * (high - low) * max(rows, default=1)
    places = spread([min(max(y, low), high) for _, y, _ in labels], gap)
    for (text, _, color), y in zip(labels, places, strict=True):
        axes.annotate(
            text,
            xy=(1, y),
            xycoords=("axes fraction", "data"),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=FONT,
            linespacing=1.1,
            annotation_clip=False,
        )

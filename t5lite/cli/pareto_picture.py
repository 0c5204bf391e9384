"""The picture of ``t5lite compare``: a metric over what it costs, and the runs that nobody beats."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

from t5lite.pages.figures import LIGHT, label_right

_FONT, _DPI = 11.0, 180
_LABEL_WIDTH = 0.3
"""Of the width between the ends, of a number and the room beside it."""
_LONGEST_LABEL = 32
"""Of a longer name, such as an address, its end is shown: else nothing is left for the points."""


class Point(NamedTuple):
    """A run in the picture."""

    name: str
    cost: float
    value: float
    interval: tuple[float, float] | None
    is_front: bool


def pareto_picture(points: Sequence[Point], *, x: str, y: str) -> Figure:
    """Draw each run as a point with its interval, the Pareto front as a line, and names at the right edge."""
    figure = Figure(figsize=(7.5, 4.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    figure.set_facecolor(LIGHT.background)
    axes = figure.subplots()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT.muted)
    axes.tick_params(colors=LIGHT.muted, labelsize=_FONT - 1, length=0, pad=5)
    axes.grid(axis="y", color=LIGHT.grid, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    axes.set_xlabel(f"{x} (log scale)", color=LIGHT.muted, fontsize=_FONT)
    axes.set_title(y, loc="left", color=LIGHT.muted, fontsize=_FONT, pad=10)
    costs = sorted({point.cost for point in points})
    axes.set_xlim(costs[0] / 1.5, costs[-1] * 1.5)
    axes.set_xticks(_ticks(costs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _cost(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    ends = [end for point in points for end in (point.interval or (point.value, point.value))]
    margin = 0.12 * (max(ends) - min(ends)) or 0.1 * abs(ends[0]) or 1.0
    axes.set_ylim(min(ends) - margin, max(ends) + margin)
    front = sorted((point.cost, point.value) for point in points if point.is_front)
    axes.plot(*zip(*front, strict=True), color=LIGHT.pale_blue, linewidth=2, zorder=1)
    for point in sorted(points, key=lambda point: point.is_front):  # the front is over what it covers
        color = LIGHT.blue if point.is_front else LIGHT.muted
        if point.interval is not None:
            axes.plot([point.cost] * 2, point.interval, color=color, linewidth=1.5, zorder=2)
        axes.plot([point.cost], [point.value], color=color, marker="o", markersize=7, zorder=3)
    colors = [LIGHT.blue if point.is_front else LIGHT.muted for point in points]
    names = [f"{_shortened(point.name)} {point.value:.4g}" for point in points]
    label_right(axes, list(zip(names, (point.value for point in points), colors, strict=True)))
    return figure


def _ticks(costs: Sequence[float]) -> list[float]:
    """Return the costs, in their order, whose numbers do not touch: the ends, and what is far from both."""
    kept, apart = [costs[0]], (costs[-1] / costs[0]) ** _LABEL_WIDTH
    for cost in costs[1:-1]:
        if cost >= kept[-1] * apart and cost * apart <= costs[-1]:
            kept.append(cost)
    return [*kept, *costs[1:][-1:]]


def _cost(value: float) -> str:
    """Return a number of parameters in thousands, millions and billions, one of FLOPs by its power of ten."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if unit <= value < 1e13:
            return f"{value / unit:.3g}{name}" if value < 1e3 * unit else f"{value / unit:,.0f}{name}"
    return f"{value:.3g}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}"


def written(figure: Figure, form: str) -> bytes:
    """Return the figure as ``svg`` or ``png``; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "t5lite"}):
        figure.savefig(buffer, format=form, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()

"""The figures of the report, drawn on matplotlib ``Figure`` objects: no pyplot, no global state.

Every function takes plain numbers and a ``Theme``, so the report can embed a light and a dark
version of the same figure. Colours are Okabe and Ito's, which colour-blind readers can tell apart;
lines also differ in weight or dash and carry their names beside them instead of in a legend.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from t5lite.quickstart.results import CurvePoint, HeldoutPoint, MetricRow, NgramBaselines


@dataclass(frozen=True)
class Theme:
    """Colours of one figure: blue is the model that was pretrained, orange is scratch."""

    background: str
    ink: str
    muted: str
    grid: str
    pretrained: str
    pretrained_pale: str
    scratch: str
    accent: str


LIGHT = Theme("#ffffff", "#1c2127", "#667080", "#e6e9ed", "#0072b2", "#a9cfe6", "#d55e00", "#00795c")
DARK = Theme("#171b21", "#e8ebef", "#9aa5b3", "#2b323b", "#56b4e9", "#2c5f80", "#f08a4b", "#2fc79b")

_WIDTH = 5.5
_FONT = 11.0
_DPI = 180


def png(figure: Figure) -> bytes:
    """Return the figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
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


def _canvas(theme: Theme, *, height: float, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty chart: horizontal grid, no box, the y label above the axis, where it is read."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(_WIDTH, height), layout=layout, facecolor=theme.background)
    axes = figure.subplots()
    axes.set_facecolor(theme.background)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.tick_params(colors=theme.muted, labelsize=_FONT - 1, length=0, pad=5)
    axes.grid(axis="y", color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=theme.muted, fontsize=_FONT)
    axes.set_title(ylabel, loc="left", color=theme.muted, fontsize=_FONT, pad=10)
    return figure, axes


def _step_axis(axes: Axes, last: int) -> None:
    axes.set_xlim(-0.015 * max(last, 1), 1.015 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


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
            fontsize=_FONT,
            linespacing=1.1,
            annotation_clip=False,
        )


def _finite(points: Sequence[CurvePoint]) -> tuple[list[int], list[float]]:
    kept = [point for point in points if math.isfinite(point.value)]
    return [point.step for point in kept], [point.value for point in kept]


def pretraining_loss(
    train: Sequence[CurvePoint],
    heldout: Sequence[HeldoutPoint],
    ngrams: NgramBaselines,
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw training loss and held-out loss over steps, with both n-gram lines.

    The axis ends a little above the unigram line: the loss before training is far above and would
    squeeze the rest; it stands in the report's table.
    """
    figure, axes = _canvas(
        theme, height=4.2, xlabel="pretraining step", ylabel="loss (nats per target token)"
    )
    _step_axis(axes, max([point.step for point in heldout] + [point.step for point in train]))
    for value in (ngrams.unigram, ngrams.bigram):
        axes.axhline(value, color=theme.muted, linewidth=1.2, linestyle=(0, (2, 2)))
    axes.plot(*_finite(train), color=theme.pretrained_pale, linewidth=1.2)
    labels = [
        (f"unigram {ngrams.unigram:.2f}", ngrams.unigram, theme.muted),
        (f"bigram {ngrams.bigram:.2f}", ngrams.bigram, theme.muted),
    ]
    lines = (
        ("held-out", [CurvePoint(step=p.step, value=p.loss) for p in heldout], theme.pretrained, "-", "o"),
        ("text only", [CurvePoint(step=p.step, value=p.text_loss) for p in heldout], theme.accent, "--", "s"),
    )
    lowest, highest = ngrams.bigram, ngrams.unigram
    for name, points, color, dash, marker in lines:
        steps, values = _finite(points)
        axes.plot(steps, values, color=color, linewidth=2, linestyle=dash, marker=marker, markersize=4)
        if values:
            labels.append((f"{name} {values[-1]:.2f}", values[-1], color))
            lowest, highest = min(lowest, *values), max(highest, values[-1])
    tail = [point.value for point in train[len(train) // 2 :] if math.isfinite(point.value)]
    lowest, highest = min([lowest, *tail]), max([highest, *tail])
    margin = 0.12 * (highest - lowest)
    axes.set_ylim(lowest - margin, highest + 1.5 * margin)
    label_right(axes, labels)
    return figure


def encoder_use(heldout: Sequence[HeldoutPoint], *, theme: Theme = LIGHT) -> Figure:
    """Draw encoder use over steps, from the zero line up."""
    figure, axes = _canvas(
        theme, height=3.0, xlabel="pretraining step", ylabel="encoder use (nats lost by swapping inputs)"
    )
    steps, values = _finite([CurvePoint(step=p.step, value=p.encoder_use) for p in heldout])
    _step_axis(axes, max(point.step for point in heldout))
    axes.fill_between(steps, values, color=theme.pretrained, alpha=0.15, linewidth=0)
    axes.plot(steps, values, color=theme.pretrained, linewidth=2, marker="o", markersize=4)
    axes.axhline(0, color=theme.muted, linewidth=1)
    low, high = min([0.0, *values]), max([0.2, *values])
    axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
    if values:
        label_right(axes, [(f"{values[-1]:.2f}", values[-1], theme.pretrained)])
    return figure


def task_curves(
    pretrained: Sequence[CurvePoint],
    scratch: Sequence[CurvePoint],
    *,
    label: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw fine-tuning from the pretrained checkpoint beside fine-tuning from scratch."""
    figure, axes = _canvas(theme, height=3.4, xlabel="fine-tuning step", ylabel=label)
    _step_axis(axes, max(point.step for point in (*pretrained, *scratch)))
    lines = (
        ("pretrained", pretrained, theme.pretrained, "-", "o"),
        ("scratch", scratch, theme.scratch, "--", "s"),
    )
    labels, shown = [], []
    for name, points, color, dash, marker in lines:
        steps, values = _finite(points)
        axes.plot(steps, values, color=color, linewidth=2, linestyle=dash, marker=marker, markersize=4)
        if values:
            labels.append((f"{name} {values[-1]:.2f}", values[-1], color))
            shown += values
    if shown:
        margin = max(0.08 * (max(shown) - min(shown)), 1e-3)
        axes.set_ylim(min(shown) - margin, max(shown) + 2 * margin)
    label_right(axes, labels)
    return figure


def scores(rows: Sequence[tuple[str, MetricRow]], *, theme: Theme = LIGHT) -> Figure:
    """Draw two bars a score, pretrained above scratch, with standard errors, and its baseline as a tick.

    Args:
      rows: (name, row) for every score; at least one.
      theme: colours.
    """
    figure, axes = _canvas(theme, height=0.8 + 1.05 * len(rows), xlabel="score (0 to 100)", ylabel="")
    axes.grid(False)
    axes.grid(axis="x", color=theme.grid, linewidth=1)
    top = max(max(row.pretrained, row.scratch, row.baseline or 0.0, 1.0) for _, row in rows)
    for y, (_, row) in enumerate(rows):
        for name, offset, value, error, color in (
            ("pretrained", -0.17, row.pretrained, row.pretrained_error, theme.pretrained),
            ("scratch", 0.17, row.scratch, row.scratch_error, theme.scratch),
        ):
            axes.barh(
                [y + offset], [value], height=0.3, color=color, xerr=error,
                error_kw={"ecolor": theme.ink, "elinewidth": 1.3},
            )  # fmt: skip
            axes.annotate(
                f"{value:.1f} {name}" if y == 0 else f"{value:.1f}",
                xy=(value + (error or 0.0), y + offset),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=color,
                fontsize=_FONT,
            )
        if row.baseline is not None:
            _baseline_tick(axes, row, y, theme)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=theme.ink, fontsize=_FONT)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, min(1.3 * top, 122.0))
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
    return figure


def _baseline_tick(axes: Axes, row: MetricRow, y: int, theme: Theme) -> None:
    """Mark the score without a model across both bars, named under them."""
    baseline = row.baseline or 0.0
    axes.plot(
        [baseline, baseline], [y - 0.36, y + 0.36], color=theme.ink, linewidth=1.5, linestyle=(0, (2, 1))
    )
    axes.annotate(
        f"{row.baseline_name} {baseline:.1f}",
        xy=(baseline, y + 0.36),
        xytext=(0, -2),
        textcoords="offset points",
        va="top",
        ha="left",
        color=theme.muted,
        fontsize=_FONT - 2,
    )


def few_labels(rows: Sequence[MetricRow], *, theme: Theme = LIGHT) -> Figure:
    """Draw one score against the number of labels (log axis), pretrained beside scratch."""
    rows = sorted((row for row in rows if row.num_labels is not None), key=lambda row: row.num_labels or 0)
    counts = [row.num_labels or 0 for row in rows]
    figure, axes = _canvas(
        theme, height=3.4, xlabel="labelled examples (log scale)", ylabel=f"{rows[0].metric} (0 to 100)"
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    labels = []
    for name, values, errors, color, dash, marker in (
        (
            "pretrained",
            [r.pretrained for r in rows],
            [r.pretrained_error for r in rows],
            theme.pretrained,
            "-",
            "o",
        ),
        ("scratch", [r.scratch for r in rows], [r.scratch_error for r in rows], theme.scratch, "--", "s"),
    ):
        axes.errorbar(
            counts, values, yerr=[error or 0.0 for error in errors], color=color, linewidth=2,
            linestyle=dash, marker=marker, markersize=5, elinewidth=1.5,
        )  # fmt: skip
        labels.append((f"{name} {values[-1]:.1f}", values[-1], color))
    baseline = rows[-1].baseline
    if baseline is not None:
        axes.axhline(baseline, color=theme.muted, linewidth=1.2, linestyle=(0, (2, 2)))
        labels.append((rows[-1].baseline_name.replace(" ", "\n"), baseline, theme.muted))
    label_right(axes, labels)
    return figure

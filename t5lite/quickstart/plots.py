"""The figures of the report, drawn on matplotlib ``Figure`` objects: no pyplot, no global state.

Every function takes plain numbers and a ``Theme``, so the report can embed a light and a dark
version of the same figure. Colours are Okabe and Ito's, which colour-blind readers can tell apart;
lines also differ in weight or dash and carry their names beside them instead of in a legend.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from t5lite.pages.figures import FONT, LIGHT, Theme, canvas, label_right
from t5lite.quickstart.results import CurvePoint, HeldoutPoint, MetricRow, NgramBaselines


def _step_axis(axes: Axes, last: int) -> None:
    axes.set_xlim(-0.015 * max(last, 1), 1.015 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


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
    figure, axes = canvas(theme, height=4.2, xlabel="pretraining step", ylabel="loss (nats per target token)")
    _step_axis(axes, max([point.step for point in heldout] + [point.step for point in train]))
    for value in (ngrams.unigram, ngrams.bigram):
        axes.axhline(value, color=theme.muted, linewidth=1.2, linestyle=(0, (2, 2)))
    axes.plot(*_finite(train), color=theme.pale_blue, linewidth=1.2)
    labels = [
        (f"unigram {ngrams.unigram:.2f}", ngrams.unigram, theme.muted),
        (f"bigram {ngrams.bigram:.2f}", ngrams.bigram, theme.muted),
    ]
    lines = (
        ("held-out", [CurvePoint(step=p.step, value=p.loss) for p in heldout], theme.blue, "-", "o"),
        ("text only", [CurvePoint(step=p.step, value=p.text_loss) for p in heldout], theme.green, "--", "s"),
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
    figure, axes = canvas(
        theme, height=3.0, xlabel="pretraining step", ylabel="encoder use (nats lost by swapping inputs)"
    )
    steps, values = _finite([CurvePoint(step=p.step, value=p.encoder_use) for p in heldout])
    _step_axis(axes, max(point.step for point in heldout))
    axes.fill_between(steps, values, color=theme.blue, alpha=0.15, linewidth=0)
    axes.plot(steps, values, color=theme.blue, linewidth=2, marker="o", markersize=4)
    axes.axhline(0, color=theme.muted, linewidth=1)
    low, high = min([0.0, *values]), max([0.2, *values])
    axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
    if values:
        label_right(axes, [(f"{values[-1]:.2f}", values[-1], theme.blue)])
    return figure


def task_curves(
    pretrained: Sequence[CurvePoint],
    scratch: Sequence[CurvePoint],
    *,
    label: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw fine-tuning from the pretrained checkpoint beside fine-tuning from scratch."""
    figure, axes = canvas(theme, height=3.4, xlabel="fine-tuning step", ylabel=label)
    _step_axis(axes, max(point.step for point in (*pretrained, *scratch)))
    lines = (
        ("pretrained", pretrained, theme.blue, "-", "o"),
        ("scratch", scratch, theme.orange, "--", "s"),
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
    figure, axes = canvas(theme, height=0.8 + 1.05 * len(rows), xlabel="score (0 to 100)", ylabel="")
    axes.grid(False)
    axes.grid(axis="x", color=theme.grid, linewidth=1)
    top = max(max(row.pretrained, row.scratch, row.baseline or 0.0, 1.0) for _, row in rows)
    for y, (_, row) in enumerate(rows):
        for name, offset, value, error, color in (
            ("pretrained", -0.17, row.pretrained, row.pretrained_error, theme.blue),
            ("scratch", 0.17, row.scratch, row.scratch_error, theme.orange),
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
                fontsize=FONT,
            )
        if row.baseline is not None:
            _baseline_tick(axes, row, y, theme)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=theme.ink, fontsize=FONT)
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
        fontsize=FONT - 2,
    )


def few_labels(rows: Sequence[MetricRow], *, theme: Theme = LIGHT) -> Figure:
    """Draw one score against the number of labels (log axis), pretrained beside scratch."""
    rows = sorted((row for row in rows if row.num_labels is not None), key=lambda row: row.num_labels or 0)
    counts = [row.num_labels or 0 for row in rows]
    figure, axes = canvas(
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
            theme.blue,
            "-",
            "o",
        ),
        ("scratch", [r.scratch for r in rows], [r.scratch_error for r in rows], theme.orange, "--", "s"),
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

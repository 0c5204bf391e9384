"""What laws make of a family's runs: profiles, best sizes, the lowest loss with its band, errors."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from t5lite.pages.figures import FONT, LIGHT, canvas, label_right
from t5lite.scaling.observations import Observations
from t5lite.scaling.pictures import draw_profiles, draw_sizes
from t5lite.scaling.report.drawing import method_color, size_axis, size_y_axis
from t5lite.scaling.report.families import Family
from t5lite.scaling.report.predictions import Prediction

_HEIGHT = 3.9
MOST_DOTS = 600
"""Of a figure."""
_BESIDE = 1.03
"""Between the predictions of one run by several methods, in parameters."""
_FEW = 4
"""Sizes of which each has a tick, since what stands beside it is of the same run."""


def profiles(family: Family, *, loss: str) -> Figure | None:
    """Draw each budget's runs with their parabola and its lowest point; None without parabolas."""
    if family.isoflop is None:
        return None
    figure, axes = canvas(LIGHT, height=_HEIGHT, xlabel="training tokens", ylabel=loss)
    size_axis(axes, family.fitted.tokens)
    draw_profiles(axes, family.fitted, family.isoflop)
    return figure


def best_sizes(family: Family) -> Figure | None:
    """Draw the best tokens over FLOPs by each method that says them; None if none does."""
    saying = [each for each in family.analyses if "D exponent" in each.numbers]
    if not saying:
        return None
    figure, axes = canvas(LIGHT, height=_HEIGHT, xlabel="training FLOPs", ylabel="best training tokens")
    size_axis(axes, [*family.fitted.flops, *family.held_out.flops])
    draw_sizes(axes, family.fitted, saying, family.isoflop)
    size_y_axis(axes)
    return figure


def lowest_loss(family: Family, *, loss: str) -> Figure | None:
    """Draw all runs and the lowest loss that each budget buys by the law, with its interval as a band."""
    law = family.law
    if law is None or law.fitted is None:
        return None
    known = [(flops, law.numbers.get(f"loss at {flops:g}")) for flops in family.budgets]
    line = [(flops, value) for flops, value in known if value is not None]
    if not line:
        return None
    figure, axes = canvas(LIGHT, height=_HEIGHT, xlabel="training FLOPs", ylabel=loss)
    size_axis(axes, [*family.fitted.flops, *family.held_out.flops])
    _runs(axes, family.fitted, family.held_out, lambda runs: runs.loss)
    color = method_color(0)
    ends = [
        (flops, interval.low, interval.high)
        for flops, _ in line
        if (interval := law.intervals.get(f"loss at {flops:g}")) is not None
    ]
    if ends:
        at, low, high = zip(*ends, strict=True)
        axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(*zip(*line, strict=True), color=color, linewidth=2)
    label_right(axes, [(f"lowest by\n{law.method.name}", line[-1][1], color)])
    return figure


def residuals(family: Family) -> Figure | None:
    """Draw by how much each run is above or below the law; None without a law."""
    law = family.law
    if law is None or law.fitted is None:
        return None
    fitted = law.fitted
    figure, axes = canvas(
        LIGHT, height=3.2, xlabel="training FLOPs", ylabel=f"measured above {law.method.name} (%)"
    )
    size_axis(axes, [*family.fitted.flops, *family.held_out.flops])
    axes.axhline(0, color=LIGHT.muted, linewidth=1)

    def above(runs: Observations) -> np.ndarray:
        predicted = fitted.predicted_loss(runs)
        return np.zeros(0) if predicted is None else 100 * (runs.loss / predicted - 1)

    _runs(axes, family.fitted, family.held_out, above)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    return figure


def _runs(
    axes: Axes,
    fitted: Observations,
    held_out: Observations,
    height: Callable[[Observations], np.ndarray],
) -> None:
    """Draw runs that a law is of as dots, those that it only predicts as open diamonds."""
    fitted = thinned(fitted)
    axes.plot(fitted.flops, height(fitted), linestyle="", marker="o", markersize=4, color=LIGHT.muted)
    if len(held_out):
        axes.plot(
            held_out.flops, height(held_out), linestyle="", marker="D", markersize=6,
            markerfacecolor=LIGHT.background, markeredgecolor=LIGHT.orange, label="held out",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=FONT - 2, labelcolor=LIGHT.ink)


def thinned(observations: Observations) -> Observations:
    """Return at most ``MOST_DOTS`` points, evenly chosen: more are a blot, and megabytes of a page."""
    if len(observations) <= MOST_DOTS:
        return observations
    return observations.take(np.linspace(0, len(observations) - 1, MOST_DOTS).round().astype(int))


def missed(predictions: Sequence[Prediction]) -> Figure | None:
    """Draw by how much each prediction with an outcome is off, with its interval, by method."""
    known = [each for each in predictions if each.outcome is not None]
    if not known:
        return None
    figure, axes = canvas(LIGHT, height=3.2, xlabel="parameters", ylabel="predicted above outcome (%)")
    axes.axhline(0, color=LIGHT.muted, linewidth=1)
    methods = [*dict.fromkeys(each.method for each in known)]
    for place, method in enumerate(methods):
        color = method_color(place)
        of_method = [each for each in known if each.method == method]
        at = [each.params * _BESIDE ** (place - (len(methods) - 1) / 2) for each in of_method]
        axes.plot(
            at, [each.missed or 0.0 for each in of_method], "o", color=color, markersize=5, label=method
        )
        for params, each in zip(at, of_method, strict=True):
            if each.interval is not None and each.outcome:
                ends = [100 * (end / each.outcome - 1) for end in (each.interval.low, each.interval.high)]
                axes.plot([params, params], ends, color=color, linewidth=2, alpha=0.5)
    size_axis(axes, sizes := [each.params for each in known])
    if len({*sizes}) <= _FEW:
        axes.set_xticks(sorted({*sizes}))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.legend(frameon=False, fontsize=FONT - 2, labelcolor=LIGHT.ink)
    return figure

"""The picture of a fit: isoFLOP profiles with their optima, and the best sizes over FLOPs by every method."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from t5lite.core.errors import DataError
from t5lite.scaling.analysis import Analysis
from t5lite.scaling.isoflop import IsoFlopFit, Profile, fit_isoflop
from t5lite.scaling.observations import Observations, budget_numbers

_INK, _MUTED, _GRID = "#1c2127", "#667080", "#e6e9ed"
_LINES = ("#0072b2", "#d55e00", "#00795c", "#cc79a7", "#56b4e9")
"""Okabe and Ito's, a method each."""
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)))
_FONT, _DPI = 11.0, 160
_BESIDE = 1.25
"""Between the intervals of one budget, in FLOPs, so that none covers another."""
_BAND = 5
"""Intervals that are drawn as one band."""
_MOST_NAMED = 10
"""Budgets beside the profiles."""


def picture(observations: Observations, analyses: Sequence[Analysis], *, title: str, format: str) -> bytes:
    """Return the picture as ``png`` or ``svg``.

    Args:
      observations: of the table.
      analyses: of the methods; those that say what is best for a budget are lines.
      title: above it.
      format: of matplotlib.
    """
    figure = Figure(figsize=(11, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    figure.set_facecolor("#ffffff")
    left, right = figure.subplots(1, 2)
    try:
        fit = fit_isoflop(observations)
    except DataError:
        fit = None
    for axes in (left, right):
        _plain(axes)
    left.set_title("loss over training tokens", loc="left", color=_MUTED, fontsize=_FONT)
    left.set_xlabel("tokens", color=_MUTED, fontsize=_FONT)
    right.set_title("best tokens over FLOPs", loc="left", color=_MUTED, fontsize=_FONT)
    right.set_xlabel("FLOPs", color=_MUTED, fontsize=_FONT)
    for axes in (left, right):
        axes.set_xscale("log")
    draw_profiles(left, observations, fit)
    draw_sizes(right, observations, analyses, fit)
    figure.suptitle(title, x=0.01, ha="left", color=_INK, fontsize=_FONT + 2)
    buffer = io.BytesIO()
    metadata = {"Software": None} if format == "png" else {"Date": None}
    figure.savefig(buffer, format=format, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(_GRID)
    axes.tick_params(which="both", colors=_MUTED, labelsize=_FONT - 1, length=0)
    axes.grid(color=_GRID, linewidth=1)
    axes.set_axisbelow(True)


def draw_profiles(axes: Axes, observations: Observations, fit: IsoFlopFit | None) -> None:
    """Draw the loss over the tokens of each budget's runs, parabolas and their lowest points, if there are.

    Budgets are named right of the axes, where there is neither a run nor a curve.

    Args:
      axes: of a logarithmic x.
      observations: the runs.
      fit: to them.
    """
    budgets = budget_numbers(observations)
    numbers = np.zeros(len(observations), int) if budgets is None else budgets
    colors = colormaps["viridis"](np.linspace(0.0, 0.85, numbers.max() + 1))
    runs: list[Line2D] = []
    for number, color in enumerate(colors):
        budget = observations.take(numbers == number)
        runs += axes.plot(
            budget.tokens, budget.loss, linestyle="", marker="o", markersize=4, color=color,
            label=f"{np.exp(np.mean(np.log(budget.flops))):.2g}",
        )  # fmt: skip
    low, high = observations.loss.min(), observations.loss.max()
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    if budgets is not None:
        _name_budgets(axes, runs)
    if fit is None:
        return
    for profile in fit.profiles:
        number, budget = _budget_of(profile, observations, numbers)
        ends = np.append(budget.tokens, profile.tokens)
        tokens = np.geomspace(ends.min(), ends.max(), 100)
        color = colors[number]
        axes.plot(tokens, np.polyval(profile.curve, np.log(tokens)), color=color, linewidth=1.2)
        axes.plot(
            [profile.tokens], [profile.loss], marker="D", markersize=6, color=color, markeredgecolor=_INK
        )


def _name_budgets(axes: Axes, runs: Sequence[Line2D]) -> None:
    """Write the FLOPs of budgets beside their colours; of many, of some from the smallest to the largest."""
    named = np.linspace(0, len(runs) - 1, min(len(runs), _MOST_NAMED)).round().astype(int)
    legend = axes.legend(
        handles=[runs[number] for number in named], title="FLOPs", loc="upper left", bbox_to_anchor=(1, 1),
        frameon=False, handletextpad=0.2, fontsize=_FONT - 2, title_fontsize=_FONT - 2, labelcolor=_MUTED,
    )  # fmt: skip
    legend.get_title().set_color(_MUTED)


def _budget_of(profile: Profile, observations: Observations, numbers: np.ndarray) -> tuple[int, Observations]:
    number = int(numbers[np.argmin(np.abs(np.log(observations.flops / profile.flops)))])
    return number, observations.take(numbers == number)


def draw_sizes(
    axes: Axes, observations: Observations, analyses: Sequence[Analysis], fit: IsoFlopFit | None
) -> None:
    """Draw the best tokens over FLOPs by every method that says them, and the lowest points of parabolas.

    Args:
      axes: of a logarithmic x.
      observations: the runs.
      analyses: of them; where intervals at many budgets were asked for, they are bands.
      fit: the parabolas.
    """
    axes.set_yscale("log")
    if fit is not None:
        flops, tokens = zip(*((profile.flops, profile.tokens) for profile in fit.profiles), strict=True)
        axes.plot(flops, tokens, linestyle="", marker="D", markersize=6, color=_INK)
    asked = [flops for each in analyses for flops in _budgets_of(each)]
    ends = [observations.flops.min(), observations.flops.max(), *asked]
    costs = np.geomspace(min(ends), max(ends), 60)
    drawn = [each for each in analyses if "D exponent" in each.numbers]
    for place, (analysis, color, dash) in enumerate(zip(drawn, _LINES, _DASHES, strict=False)):
        optima = [(each, analysis.fitted.optimum(each)) for each in costs if analysis.fitted]
        known, tokens = zip(*((each, optimum.tokens) for each, optimum in optima if optimum), strict=True)
        exponent = analysis.numbers["D exponent"]
        label = f"{analysis.method.name}: tokens ~ C^{exponent:.3f}"
        axes.plot(known, tokens, color=color, linestyle=dash, linewidth=1.8, label=label)
        known = [(each, analysis.intervals.get(f"D at {each:g}")) for each in _budgets_of(analysis)]
        ends = [(each, interval.low, interval.high) for each, interval in known if interval is not None]
        if len(ends) >= _BAND:
            at, low, high = zip(*ends, strict=True)
            axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
            continue
        for flops, low, high in ends:
            axes.plot([flops * _BESIDE**place] * 2, [low, high], color=color, linewidth=3, alpha=0.5)
    if drawn:
        axes.legend(frameon=False, fontsize=_FONT - 1, labelcolor=_INK)


def _budgets_of(analysis: Analysis) -> list[float]:
    return [float(name.removeprefix("D at ")) for name in analysis.numbers if name.startswith("D at ")]

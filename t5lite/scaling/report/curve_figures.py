"""Loss curves of a family, by what a reader wants to compare at: steps, tokens, FLOPs, hours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t5lite.pages.figures import FONT, LIGHT, canvas, label_right
from t5lite.scaling.report.drawing import ramp, short, shown_name, size_axis
from t5lite.scaling.report.families import Family
from t5lite.scaling.report.reported_run import Curve, ReportedRun

_FEW = 6
"""Runs whose names stand beside their lines."""
_MANY = 40
"""Runs, above which each line has fewer points: they are a pixel apart anyhow."""
_MOST_POINTS = {False: 200, True: 50}
_MARGIN = 0.06


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What curves are drawn over.

    Attributes:
      name: of the array of ``Curve``, and in file names.
      words: on the choice.
      label: of the axis.
    """

    name: str
    words: str
    label: str


PROGRESS = (
    Progress(name="steps", words="steps", label="training steps"),
    Progress(name="tokens", words="tokens", label="training tokens"),
    Progress(name="flops", words="FLOPs", label="training FLOPs"),
    Progress(name="hours", words="hours", label="hours in training steps"),
)


def curves(family: Family, progress: Progress) -> Figure | None:
    """Draw the losses of a family's runs; None if nothing is known of them over this."""
    drawn = [(run, *points) for run in family.runs if run.curve and (points := _points(run.curve, progress))]
    if not drawn:
        return None
    figure, axes = canvas(LIGHT, height=3.9, xlabel=progress.label, ylabel="loss")
    colors = _colors([run for run, *_ in drawn])
    most = _MOST_POINTS[len(drawn) > _MANY]
    labels = []
    for (run, at, loss), color in zip(drawn, colors, strict=True):
        kept = np.unique(np.linspace(0, len(at) - 1, min(len(at), most)).round().astype(int))
        alone = "o" if len(kept) == 1 else ""
        axes.plot(
            at[kept], loss[kept], color=color, linestyle=_dash(run), marker=alone, markersize=4,
            linewidth=1.8 if len(drawn) <= _FEW else 1.1,
        )  # fmt: skip
        labels.append((f"{shown_name(run.name)} {loss[-1]:.2f}", float(loss[-1]), color))
    size_axis(axes, np.concatenate([at for _, at, _ in drawn]))
    _limit(axes, [loss for *_, loss in drawn])
    if len(drawn) <= _FEW:
        label_right(axes, labels)
    else:
        _legend(axes, [run for run, *_ in drawn])
    return figure


def _points(curve: Curve, progress: Progress) -> tuple[np.ndarray, np.ndarray] | None:
    at = getattr(curve, progress.name)
    known = np.isfinite(at) & (at > 0)
    return (at[known], curve.loss[known]) if known.any() else None


def _dash(run: ReportedRun) -> str:
    if run.curve is not None and run.curve.is_training:
        return ":"
    return "-" if run.is_finished else "--"


def _shares(runs: Sequence[ReportedRun]) -> np.ndarray:
    """Return the place of each run's size between the smallest, 0, and the largest, 1; NaN where unknown."""
    sizes = np.log(np.array([run.number("params") for run in runs]))
    if not np.isfinite(sizes).any():
        return sizes
    low, high = np.nanmin(sizes), np.nanmax(sizes)
    return (sizes - low) / (high - low) if high > low else 0 * sizes


def _colors(runs: Sequence[ReportedRun]) -> list[str]:
    shares = _shares(runs)
    if len(runs) <= _FEW:  # told apart, in the order of their sizes
        order = np.argsort(np.argsort(shares, kind="stable"), kind="stable")
        return [ramp(place / max(len(runs) - 1, 1)) for place in order]
    # A colour for each of a few sizes, so that a page has few.
    return [LIGHT.muted if np.isnan(share) else ramp(round(12 * share) / 12) for share in shares]


def _limit(axes: Axes, losses: Sequence[np.ndarray]) -> None:
    """End the axis where the first few points would squeeze the rest: above most of what was measured."""
    every, last = np.concatenate(losses), np.array([loss[-1] for loss in losses])
    low, high = float(every.min()), max(float(np.quantile(every, 0.97)), float(last.max()))
    margin = _MARGIN * (high - low) or _MARGIN * max(low, 1.0)
    axes.set_ylim(low - margin, high + margin)


def _legend(axes: Axes, runs: Sequence[ReportedRun]) -> None:
    shares = _shares(runs)
    known = [(share, run.number("params")) for share, run in zip(shares, runs, strict=True) if share == share]
    handles = []
    if known:
        for wanted in (0.0, 0.5, 1.0):
            share, params = min(known, key=lambda each: abs(each[0] - wanted))
            label = f"{short(float(f'{params:.2g}'))} parameters"
            if label not in [each.get_label() for each in handles]:
                handles.append(Line2D([], [], color=ramp(round(12 * share) / 12), label=label))
    if any(_dash(run) == "--" for run in runs):
        handles.append(Line2D([], [], color=LIGHT.muted, linestyle="--", label="not finished"))
    if any(_dash(run) == ":" for run in runs):
        handles.append(Line2D([], [], color=LIGHT.muted, linestyle=":", label="training batches"))
    axes.legend(handles=handles, frameon=False, fontsize=FONT - 2, labelcolor=LIGHT.ink, loc="upper right")

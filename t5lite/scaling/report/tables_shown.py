"""The tables of a report: of runs and curves as CSV, and what of them stands on the page."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from t5lite.scaling.report.reported_run import ReportedRun

_FIRST = ("run", "family", "state", "params", "tokens", "unique_tokens", "flops", "loss", "bits", "steps")
_FAR = 1e5
_SHOWN = {
    "params": "parameters",
    "tokens": "tokens",
    "flops": "FLOPs",
    "loss": "loss",
    "bits": "bits",
    "steps": "steps",
    "seconds": "hours",
    "goodput": "goodput",
}
"""Columns that the page shows, by what they are called there."""


def run_rows(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Return a row a run, with all that is known of it."""
    return [
        {
            **dict.fromkeys(_FIRST),
            **run.row,
            "run": run.name,
            "family": run.family,
            "state": run.state,
            "origin": run.origin,
        }
        for run in runs
    ]


def curve_rows(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Return a row a point of a curve."""
    return [
        {"run": run.name, "family": run.family, "params": run.row.get("params")}
        | {"step": _known(steps), "tokens": _known(tokens), "flops": _known(flops), "hours": _known(hours)}
        | {"loss": loss, "of": "training" if run.curve.is_training else "evaluation"}
        for run in runs
        if run.curve is not None
        for steps, tokens, flops, hours, loss in zip(
            *(getattr(run.curve, name).tolist() for name in ("steps", "tokens", "flops", "hours", "loss")),
            strict=True,
        )
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as a file, the columns of all."""
    stream = io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")


def shown_columns(runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return which columns the page has of these runs: those that at least one knows."""
    return {
        name: words for name, words in _SHOWN.items() if any(math.isfinite(run.number(name)) for run in runs)
    }


def cell(run: ReportedRun, column: str) -> str:
    """Return a number of a run as the page has it."""
    value = run.number(column)
    if not math.isfinite(value):
        return ""
    if column == "seconds":
        return f"{value / 3600:,.2f}"
    if column == "goodput":
        return f"{value:.0%}"
    return figure(value)


def figure(value: float) -> str:
    """Return a number to four digits, whole ones that are not long as they are.

    >>> figure(456928.0), figure(5.0869634), figure(3.9953e11)
    ('456,928', '5.087', '3.995e+11')
    """
    if value == round(value) and abs(value) < 10 * _FAR:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < _FAR or abs(value) >= 1e9 else f"{value:,.0f}"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None

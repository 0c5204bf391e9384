"""``t5lite compare``: runs side by side, and which of them to use under a budget."""

import base64
import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any

import tyro

from t5lite.cli.pareto_picture import Point, pareto_picture, written
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.files import check_apart, check_new_file, write_bytes, write_text
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, absolute_location, is_remote, place
from t5lite.runner.choosing import Budget, Criterion, advice, criterion, pareto, recorded, shown
from t5lite.runner.comparison import ComparedRun, read_run
from t5lite.runner.measurements import Measured

_PICTURES = (".svg", ".png")
_MOST_METRICS = 4


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Set runs side by side, from what their files tell, and say which to use.

    Intervals are those that `t5lite evaluate` recorded. Runs that wrote predictions for the same examples
    are compared in pairs (paired bootstrap), which tells apart what intervals alone do not.
    """

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN …")]] = ()
    """Run directories, local, gs:// or s3://."""
    metric: str | None = None
    """By which to choose; by default the first of predictions that all have with an interval, else bits
    per byte, else the loss."""
    evaluation: str | None = None
    """Whose metric, by name; the first that all runs have by default, or that most have. Others are left
    out, with a note."""
    max_parameters: float | None = None
    """Choose among runs of at most so many parameters, such as 60e6."""
    max_flops: float | None = None
    """Choose among runs that were trained with at most so many FLOPs, such as 1e18."""
    picture: str | None = None
    """New .svg or .png file for the metric over what it costs, with the Pareto front."""
    html: str | None = None
    """New .html file for everything on one page."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self):
        expand_fields(self, "runs", "picture", "html")
        if len(self.runs) < 2:
            raise ConfigError("give two run directories or more; see t5lite compare --help")
        for name in ("max_parameters", "max_flops"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"--{name.replace('_', '-')} {limit:g} must be above 0")
        known: dict[str, str] = {}
        for run in self.runs:
            location = absolute_location(run)
            real = location if is_remote(location) else os.path.realpath(location)
            if real in known:
                same = "" if known[real] == run else f", once as {known[real]}"
                raise ConfigError(f"{run} is given twice{same}; give each run once")
            known[real] = run


def run(arguments: Sequence[str]) -> int:
    """Print runs side by side and the advice, write what was asked for, and return 0."""
    known = command_line.parse(Arguments, arguments, prog="t5lite compare")
    picture = _new_file("picture", known.picture, known.runs, _PICTURES)
    html = _new_file("html", known.html, known.runs, (".html", ".htm"))
    runs, evaluation, left_out = recorded(
        [read_run(each) for each in known.runs], evaluation=known.evaluation
    )
    by = criterion(runs, evaluation=evaluation, metric=known.metric)
    said = advice(runs, by, Budget(max_parameters=known.max_parameters, max_flops=known.max_flops))
    cost, costs = _costs(runs)
    front = pareto(runs, by, costs)
    drawn = any(by.has_number(each) for each in by.comparable(runs))
    if (picture is not None or html is not None) and not drawn:
        raise ConfigError(f"nothing is drawn. {said} {'; '.join(by.notes(runs))}")
    notes = [*left_out, *by.notes(runs), *(note for each in runs for note in each.lacks)]
    rows = _rows(runs, by, front)
    if known.json:
        print(json.dumps(_json(runs, by, front, said, notes), indent=2))
    else:
        print("\n".join([*_aligned(rows), "", said, *notes]))
    if picture is not None or html is not None:
        figure = pareto_picture(_points(runs, by, costs, front), x=cost, y=f"{by.metric} of {by.evaluation}")
        if picture is not None:
            write_bytes(picture, written(figure, picture.suffix.lower()[1:]))
        if html is not None:
            write_text(html, _page(rows, said, notes, written(figure, "png")))
    return 0


def _new_file(
    option: str, path: str | None, runs: Sequence[str], endings: tuple[str, ...]
) -> StoragePath | None:
    """Return where to write, after checking that it can be written and replaces nothing."""
    if path is None:
        return None
    file = place(path)
    check_new_file(file)
    check_apart(file, runs)
    if file.suffix.lower() not in endings:
        raise ConfigError(f"--{option} {file}: give a name in {' or '.join(endings)}")
    if file.exists():
        raise ConfigError(f"--{option} {file} is there already; give another name, or delete it")
    return file


def _costs(runs: Sequence[ComparedRun]) -> tuple[str, list[float]]:
    """Return by what runs are laid out: training FLOPs where all have recorded them, else parameters."""
    flops = [run.training_flops for run in runs if run.training_flops is not None]
    sizes = {run.num_parameters for run in runs}
    if len(flops) == len(runs) and len(sizes) == 1:
        return "training FLOPs", flops
    return "parameters", [float(run.num_parameters) for run in runs]


def _rows(runs: Sequence[ComparedRun], by: Criterion, front: Sequence[bool]) -> list[tuple[str, ...]]:
    found = [by.measured(run).metrics for run in runs]
    common = [name for name in found[0] if all(name in each for each in found)]
    others = [name for name in common if name != by.metric and not name.endswith("_error")]
    names = [by.metric, *sorted(others, key=lambda name: name != "loss")][:_MOST_METRICS]
    head = ("run", "parameters", "in memory", "training FLOPs", "step", "tokens/s", *names, "Pareto")
    rows: list[tuple[str, ...]] = [head]
    for run, is_front in zip(runs, front, strict=True):
        speed = run.tokens_per_second
        devices = f" on {run.num_devices}" if run.num_devices else ""
        rows.append(
            (
                run.run,
                f"{run.num_parameters:,}",
                f"{run.parameter_bytes / 1e6:,.1f} MB",
                "?" if run.training_flops is None else f"{run.training_flops:.3g}",
                "?" if run.step is None else f"{run.step:,}",
                "?" if speed is None else f"{speed:,.0f}{devices}",
                *(shown(run, dataclasses.replace(by, metric=name)) for name in names),
                "other examples" if run.run in by.apart else "front" if is_front else "",
            )
        )
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _points(
    runs: Sequence[ComparedRun], by: Criterion, costs: Sequence[float], front: Sequence[bool]
) -> list[Point]:
    points = []
    for run, cost, is_front in zip(runs, costs, front, strict=True):
        if run.run in by.apart or not by.has_number(run):
            continue
        interval = by.measured(run).intervals.get(by.metric)
        ends = None if interval is None else (interval.low, interval.high)
        points.append(Point(run.run, cost, by.value(run), ends, is_front))
    return points


def _json(
    runs: Sequence[ComparedRun], by: Criterion, front: Sequence[bool], said: str, notes: Sequence[str]
) -> dict[str, Any]:
    described = []
    for run, is_front in zip(runs, front, strict=True):
        chosen = {
            **{name: each[0] for name, each in run.evaluations.items()},
            by.evaluation: by.measured(run),
        }
        values = dataclasses.asdict(dataclasses.replace(run, evaluations={}))
        values["evaluations"] = {name: _of_evaluation(each) for name, each in chosen.items()}
        described.append(values | {"is_pareto": is_front, "is_comparable": run.run not in by.apart})
    known = {name: getattr(by, name) for name in ("evaluation", "metric", "lower_is_better")}
    return {"by": known, "advice": said, "notes": list(notes), "runs": described}


def _of_evaluation(measured: Measured) -> dict[str, Any]:
    names = ("step", "store", "contents", "num_examples", "average", "metrics")
    intervals = {name: dataclasses.asdict(each) for name, each in measured.intervals.items()}
    return {**{name: getattr(measured, name) for name in names}, "intervals": intervals}


def _page(rows: Sequence[Sequence[str]], said: str, notes: Sequence[str], picture: bytes) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    image = base64.b64encode(picture).decode()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>t5lite compare</title>\n<style>\n"
        "body{font:16px/1.5 system-ui,sans-serif;color:#1c2127;background:#fff;max-width:72rem;"
        "margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\n"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums}div{overflow-x:auto}\n"
        "th,td{text-align:left;padding:.4rem .9rem .4rem 0;border-bottom:1px solid #e6e9ed}\n"
        "th,td{white-space:nowrap}\n"
        "img{max-width:44rem;width:100%}li{color:#667080}\n"
        "</style>\n</head>\n<body>\n<h1>Which run to use</h1>\n"
        f"<p><b>{escape(said)}</b></p>\n"
        f'<img alt="metric over cost, with the Pareto front" src="data:image/png;base64,{image}">\n'
        f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
        f"<ul>{listed}</ul>\n</body>\n</html>\n"
    )

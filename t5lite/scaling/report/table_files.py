"""A table of runs, of a sweep or of anybody, as a report shows it."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np

from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.column_names import scale_of
from t5lite.scaling.report.reported_run import FINISHED, Curve, Material, ReportedRun, Row, number
from t5lite.scaling.row_files import BEYOND, read_rows
from t5lite.scaling.tables import Numbers, Reading, cells_of, check_column, numbers_of

_FAMILY, _STEP, _EVALUATION = "family", "step", "evaluation"
_SOFTWARE = "finished/"


@dataclass(frozen=True, kw_only=True)
class TableFiles:
    """Files of tables.

    Attributes:
      reading: which columns are which.
      by: the column whose values are families; "family" where there is one, by default.
    """

    reading: Reading
    by: str | None = None

    about = "table (.csv, .tsv, .json, .jsonl or .parquet)"
    is_group = True

    def holds(self, path: StoragePath) -> bool:
        """Whether this is one."""
        return path.is_file()

    def read(self, path: StoragePath) -> Material:
        """Return the runs of a file, rows of one name together; their numbers are what a fit reads there.

        Raises:
          DataError: as of ``read_rows``, or for columns that are not there.
        """
        header, rows = read_rows(str(path))
        meant = self.reading.meant(header, str(path))
        by = self.by if self.by is not None else next((each for each in header if each == _FAMILY), None)
        if by is not None:
            check_column(by, header, str(path))
        cells = cells_of([row for _, row in rows], meant)
        grouped: dict[str, list[tuple[str, Row]]] = {}
        for line, row in rows:
            family = path.stem if by is None else _word(row.get(by))
            grouped.setdefault(family, []).append((f"row {line}", row))
        runs: list[ReportedRun] = []
        notes: list[str] = []
        left_out: list[str] = []
        for family, each in grouped.items():
            numbers = numbers_of(each, meant, cells=cells)
            found, others = _runs(family, each, numbers, origin=str(path))
            runs += [replace(run, scale=scale_of(meant["loss"])) for run in found]
            left_out += others
            of_family = f", {by}={family}" if len(grouped) > 1 else ""
            notes += [f"{path}{of_family}: {note}" for note in numbers.notes]
        return Material(runs=tuple(runs), notes=(*notes, *other_evaluations(path, left_out)))


def _runs(
    family: str, rows: Sequence[tuple[str, Row]], numbers: Numbers, *, origin: str
) -> tuple[list[ReportedRun], list[str]]:
    """Return the runs of a family, and which evaluations of each are left out.

    All rows of a run are its curve; points of laws are those that count.
    """
    found: dict[str, list[tuple[Row, bool]]] = {}
    for place, (where, row) in enumerate(rows):
        values = {name: float(column[place]) for name, column in numbers.columns.items()}
        # In a sweep's columns, whatever the table's are called; what has no number is blank.
        known = {name: None if math.isnan(value) else value for name, value in values.items()}
        whole = {column: value for column, value in row.items() if column != BEYOND} | known
        found.setdefault(numbers.runs[place] or where, []).append((whole, bool(numbers.used[place])))
    runs: list[ReportedRun] = []
    left_out: list[str] = []
    for name, each in found.items():
        which, others = of_one_evaluation([row for row, _ in each])
        shown = list(compress(each, which))
        points = [row for row, is_used in shown if is_used]
        run = of_rows(name, family, [row for row, _ in shown], origin=origin)
        runs.append(replace(run, points=tuple(points)))
        left_out += others
    return runs, left_out


def of_one_evaluation(rows: Sequence[Row], chief: str | None = None) -> tuple[list[bool], list[str]]:
    """Return which rows of one training are of one evaluation, and the names of the others.

    Args:
      rows: each of a time and, where the table has such a column, of an evaluation.
      chief: the evaluation to take; the first where there is no such one.
    """
    named = [_word(row.get(_EVALUATION)) for row in rows]
    names = list(dict.fromkeys(filter(None, named)))
    at_once = len({_word(row.get("tokens")) for row in rows}) < len(rows)
    if len(names) < 2 or not at_once:  # a column of that name may count them
        return [True] * len(rows), []
    kept = chief if chief in names else names[0]
    return [name in ("", kept) for name in named], [name for name in names if name != kept]


def other_evaluations(path: StoragePath, names: Iterable[str]) -> list[str]:
    """Say which evaluations of a table are left out, each named once for each run."""
    listed = ", ".join(f"{name} (of {count} runs)" for name, count in Counter(names).items())
    return [f"{path}: curves are of one evaluation of a run; left out: {listed}"] if listed else []


def of_rows(name: str, family: str, rows: Sequence[Row], *, origin: str) -> ReportedRun:
    """Return the run of the rows of a table, several of which are points of its training."""
    rows = sorted(rows, key=lambda row: np.nan_to_num(number(row.get("tokens"))))
    last = rows[-1]
    steps = next((number(last[column]) for column in ("steps", _STEP) if column in last), np.nan)
    return ReportedRun(
        name=name,
        family=family,
        state=FINISHED,
        row=last,
        points=tuple(rows),
        step=int(steps) if np.isfinite(steps) else None,
        curve=curve_of(rows) if len(rows) > 1 else None,
        origin=origin,
        software=software_of(last),
    )


def curve_of(rows: Sequence[Row]) -> Curve | None:
    """Return the losses of rows, each a point of one training; None if none is finite."""
    columns = {
        name: np.array([number(row.get(column)) for row in rows])
        for name, column in (("steps", _STEP), ("tokens", "tokens"), ("flops", "flops"), ("loss", "loss"))
    }
    finite = np.isfinite(columns["loss"])
    if not finite.any():
        return None
    order = np.flatnonzero(finite)[np.argsort(columns["tokens"][finite], kind="stable")]
    steps, tokens, flops, loss = (columns[name][order] for name in ("steps", "tokens", "flops", "loss"))
    hours = np.full(len(order), np.nan)
    return Curve(steps=steps, tokens=tokens, flops=flops, hours=hours, loss=loss)


def software_of(row: Row) -> dict[str, str]:
    """Return with what a run was finished, as a sweep's table has it."""
    noted = {name.removeprefix(_SOFTWARE): value for name, value in row.items() if name.startswith(_SOFTWARE)}
    return {name: str(value) for name, value in noted.items() if value not in (None, "")}


def _word(value: Any) -> str:
    return "" if value is None else str(value)

"""A table of runs, of a sweep or of anybody, as a report shows it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.report.reported_run import FINISHED, Curve, Material, ReportedRun, Row, number
from t5lite.scaling.tables import BEYOND, Numbers, Reading, check_column, numbers_of, read_rows

_FAMILY, _STEP = "family", "step"
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

    about = "table (.csv, .tsv, .jsonl or .parquet)"

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
        grouped: dict[str, list[tuple[str, Row]]] = {}
        for line, row in rows:
            family = path.stem if by is None else _word(row.get(by))
            grouped.setdefault(family, []).append((f"row {line}", row))
        runs: list[ReportedRun] = []
        notes: list[str] = []
        for family, each in grouped.items():
            numbers = numbers_of(each, meant)
            runs += _runs(family, each, numbers, origin=str(path))
            of_family = f", {by}={family}" if len(grouped) > 1 else ""
            notes += [f"{path}{of_family}: {note}" for note in numbers.notes]
        return Material(runs=tuple(runs), notes=tuple(notes))


def _runs(
    family: str, rows: Sequence[tuple[str, Row]], numbers: Numbers, *, origin: str
) -> list[ReportedRun]:
    """Return the runs of a family, with all rows of each, of which those that count are points of laws."""
    shown: dict[str, list[Row]] = {}
    points: dict[str, list[Row]] = {}
    for place, (where, row) in enumerate(rows):
        values = {name: float(column[place]) for name, column in numbers.columns.items()}
        # In a sweep's columns, whatever the table's are called; what has no number is blank.
        known = {name: None if math.isnan(value) else value for name, value in values.items()}
        whole = {column: value for column, value in row.items() if column != BEYOND} | known
        name = numbers.runs[place] or where
        shown.setdefault(name, []).append(whole)
        points.setdefault(name, []).extend([known] if numbers.used[place] else [])
    return [
        replace(of_rows(name, family, each, origin=origin), points=tuple(points[name]))
        for name, each in shown.items()
    ]


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

"""A table of runs, of a sweep or of anybody, as a report shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.report.reported_run import FINISHED, Curve, Material, ReportedRun, Row, number
from t5lite.scaling.tables import Reading, check_column, read_rows

_FAMILY, _STEP = "family", "step"
_SOFTWARE = "finished/"
_SIX = 6.0


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
        """Return the runs of a file, rows of one name together.

        Raises:
          DataError: as of ``read_rows``, or for columns that are not there.
        """
        header, rows = read_rows(str(path))
        meant = self.reading.meant(header, str(path))
        by = self.by if self.by is not None else next((each for each in header if each == _FAMILY), None)
        if by is not None:
            check_column(by, header, str(path))
        grouped: dict[tuple[str, str], list[Row]] = {}
        for line, row in rows:
            family = path.stem if by is None else _word(row.get(by))
            name = _word(row.get(meant["run"])) if "run" in meant else ""
            grouped.setdefault((family, name or f"row {line}"), []).append(named(row, meant))
        return Material(
            runs=tuple(
                of_rows(name, family, points, origin=str(path)) for (family, name), points in grouped.items()
            )
        )


def named(row: Row, meant: Mapping[str, str]) -> dict[str, Any]:
    """Return a row that has sweeps' columns, too, of what it means, and what follows from C = 6 N D."""
    known = {name: row.get(column) for name, column in meant.items()} | dict(row)
    params, tokens, flops = (number(known.get(name)) for name in ("params", "tokens", "flops"))
    if "flops" not in meant:
        known["flops"] = _SIX * params * tokens
    elif "params" not in meant:
        known["params"] = flops / (_SIX * tokens) if tokens else np.nan
    elif "tokens" not in meant:
        known["tokens"] = flops / (_SIX * params) if params else np.nan
    return known


def of_rows(name: str, family: str, rows: Sequence[Row], *, origin: str) -> ReportedRun:
    """Return the run of the rows of a table, several of which are points of its training."""
    rows = sorted(rows, key=lambda row: number(row.get("tokens"))) if len(rows) > 1 else rows
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

"""A sweep's directory as a report shows it: its runs, also those that are not done, or its tables alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from t5lite.core.errors import ReportedError
from t5lite.core.json_text import load_json, parse_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.report.reported_run import Material, ReportedRun, Row
from t5lite.scaling.report.run_directories import RunDirectories, read_run
from t5lite.scaling.report.table_files import (
    curve_of,
    of_one_evaluation,
    of_rows,
    other_evaluations,
    software_of,
)
from t5lite.scaling.row_files import read_rows
from t5lite.scaling.sweep_list import LIST_FILE, ListedRun, read_list
from t5lite.scaling.sweep_table import CURVES, FINISHED, TABLE
from t5lite.scaling.sweeps import RUNS, WAITING


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepDirectories:
    """Directories of ``t5lite sweep``.

    Attributes:
      columns: of rows, for some of what laws are of (``column_names.NAMES``).
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    about = "directory of a sweep"
    is_group = True

    def holds(self, path: StoragePath) -> bool:
        """Whether this is one."""
        files = (path / name for name in (LIST_FILE, f"{TABLE}.csv"))
        return (path / RUNS).is_dir() or any(file.is_file() for file in files)

    def read(self, path: StoragePath) -> Material:
        """Return all its runs; what cannot be read of one is said, and the others are there.

        Raises:
          DataError: if its list or a table is damaged.
        """
        listed, rows, curves = read_list(path), _rows(path, TABLE), _rows(path, CURVES)
        folders = [each.name for each in (path / RUNS).iterdir()] if (path / RUNS).is_dir() else []
        names = dict.fromkeys([*listed, *rows, *sorted(folders)])
        runs: list[ReportedRun] = []
        notes: list[str] = []
        left_out: list[str] = []
        for name in names:
            folder = path / RUNS / name
            known = listed.get(name)
            try:
                if name in folders and RunDirectories().holds(folder):
                    runs.append(_with_row(read_run(folder), path, rows.get(name, [{}])[-1]))
                elif name in rows:
                    row = rows[name][-1]
                    curve = curves.get(name, [])
                    which, others = of_one_evaluation(curve, _chief_evaluation(row))
                    runs.append(_of_tables(name, row, list(compress(curve, which)), path))
                    left_out += others
                elif known is not None:
                    runs.append(_waiting(name, known, path))
            except ReportedError as error:
                notes.append(f"run {name} is not shown: {error}")
        notes += other_evaluations(path / f"{CURVES}.csv", left_out)
        found = _in_families(runs, listed, rows)
        return Material(runs=tuple(run.with_columns(self.columns) for run in found), notes=tuple(notes))


def _rows(path: StoragePath, table: str) -> dict[str, list[Row]]:
    """Return the rows of a table of the sweep by their runs."""
    file = path / f"{table}.csv"
    grouped: dict[str, list[Row]] = {}
    if file.is_file():
        for _, row in read_rows(str(file))[1]:
            grouped.setdefault(str(row.get("run")), []).append(row)
    return grouped


def _with_row(run: ReportedRun, path: StoragePath, row: Row) -> ReportedRun:
    """Return a run with what the sweep's table says of it, which counts where it is finished."""
    if not run.is_finished:
        return run
    noted = path / FINISHED / f"{run.name}.json"
    known: Mapping[str, Any] = row
    if not row and noted.is_file():
        try:
            content = load_json(noted)
        except (OSError, ValueError):  # the table's next writer says so
            content = {}
        known = {f"finished/{name}": value for name, value in content.items()}
        known |= {"unique_tokens": content.get("unique_tokens")}
    whole = {**run.row, **{name: value for name, value in known.items() if value not in (None, "")}}
    return dataclasses.replace(run, row=whole, points=(whole,), software=software_of(whole))


def _chief_evaluation(row: Row) -> str | None:
    """Return the evaluation that the run's configuration names as the one that says what is best, if any."""
    try:
        return parse_json(str(row.get("config")))["checkpoints"]["best_evaluation"]
    except (ValueError, TypeError, KeyError):  # of a table that was made otherwise
        return None


def _of_tables(name: str, row: Row, curve: Sequence[Row], path: StoragePath) -> ReportedRun:
    run = of_rows(name, str(row.get("family") or ""), [row], origin=str(path))
    return dataclasses.replace(run, curve=curve_of(curve))


def _waiting(name: str, known: ListedRun, path: StoragePath) -> ReportedRun:
    row = {"params": known.params, "tokens": known.tokens, "flops": known.flops}
    return ReportedRun(
        name=name,
        family=known.family,
        state=WAITING,
        row=row,
        step=0,
        total_steps=known.total_steps,
        whole_tokens=known.tokens,
        origin=str(path),
    )


def _in_families(
    runs: list[ReportedRun], listed: Mapping[str, ListedRun], rows: Mapping[str, list[Row]]
) -> list[ReportedRun]:
    """Return runs with the sweep's names of families; of one that nothing names, that of its architecture."""
    told = {name: str(each[-1].get("family") or "") for name, each in rows.items()}
    told |= {name: each.family for name, each in listed.items()}
    alike: dict[str, set[str]] = {}
    for run in runs:
        if told.get(run.name):
            alike.setdefault(run.family, set()).add(told[run.name])
    only = {architecture: next(iter(names)) for architecture, names in alike.items() if len(names) == 1}
    return [
        dataclasses.replace(run, family=told.get(run.name) or only.get(run.family, run.family))
        for run in runs
    ]

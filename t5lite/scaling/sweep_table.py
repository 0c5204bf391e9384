"""The tables of a sweep: a row a finished run, and a row each time that it was measured; CSV and Parquet."""

import csv
import dataclasses
import importlib.util
import io
import json
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from t5lite import __version__
from t5lite.core.errors import DataError, ReportedError
from t5lite.core.files import make_directory, write_bytes, write_json
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.run_config import to_json
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.status import run_status
from t5lite.scaling.counting import CONVENTIONS, count_run, shape_of
from t5lite.scaling.sweep_epochs import Epochs
from t5lite.scaling.sweep_measures import chief_values, measured_values
from t5lite.scaling.sweeps import SweepRun

FINISHED = "finished"
"""Folder of what is noted of each run when it is found finished, in the directory of the sweep."""
TABLE, CURVES = "table", "curves"
"""Names of the tables, without suffix."""
_UNIQUE = "unique_tokens"
_PACKAGES = ("jax", "jaxlib", "flax", "numpy")

Row = Mapping[str, Any]


def note_finished(folder: StoragePath, run: SweepRun, epochs: Epochs) -> bool:
    """Note with which software and data a run was finished, unless that is known; return whether it was not.

    What was found finished at once is of the software that found it, as far as anybody knows.
    """
    file = folder / FINISHED / f"{run.id}.json"
    is_new = not file.is_file()
    if is_new:
        versions = {"t5lite": __version__} | {name: metadata.version(name) for name in _PACKAGES}
        make_directory(file.parent)
        here = {"python": platform.python_version(), "host": platform.node()}
        here["time"] = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(file, versions | here | {_UNIQUE: epochs.unique_tokens(run)})
    return is_new


def write_tables(folder: StoragePath, runs: Sequence[SweepRun], epochs: Epochs) -> list[str]:
    """Write the tables of the runs that are finished, and say which are left out for unreadable files.

    Of two processes that finish runs at the same time, the later to write has all of them: what was noted
    meanwhile is looked for again.
    """
    noted = _noted_runs(folder, runs)
    while True:
        left_out = _write_tables(folder, noted, epochs)
        before, noted = noted, _noted_runs(folder, runs)
        if len(noted) == len(before):
            return left_out


def _noted_runs(folder: StoragePath, runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Return the runs with a note, by one look at all notes: in a bucket each look is a request."""
    notes = folder / FINISHED
    names = {file.name for file in notes.iterdir()} if notes.is_dir() else set[str]()
    return [run for run in runs if f"{run.id}.json" in names]


def _write_tables(folder: StoragePath, runs: Sequence[SweepRun], epochs: Epochs) -> list[str]:
    shown, rows, curves, left_out = [], [], [], []
    for run in runs:
        found = Snapshot(run.directory)
        try:
            if run.state()[0] != "finished":  # begun anew since it was noted
                continue
            row, curve = _row(folder, run, found, epochs), _curve(run, found)
        except ReportedError as error:
            left_out.append(f"{run.id} is left out of the tables: {error}")
            continue
        shown.append(run)
        rows.append(row)
        curves += curve
    rows = [row | configured for row, configured in zip(rows, _settings(shown), strict=True)]
    for name, content in ((TABLE, rows), (CURVES, curves)) if rows else ():
        write_bytes(folder / f"{name}.csv", _csv(content))
        if has_parquet():
            write_bytes(folder / f"{name}.parquet", _parquet(content))
    return left_out


def _row(folder: StoragePath, run: SweepRun, found: Snapshot, epochs: Epochs) -> dict[str, Any]:
    status = run_status(str(run.directory.path))
    # Above 0 where a trunk ended; 0 if it was begun anew since, from its start.
    begun = min((each.first_step for each in status.attempts), default=0)
    trunk = found.config.continue_from if begun else None
    own = [each for each in found.metrics if each["step"] > begun]
    speeds = [each["tokens_per_second"] for each in own if each.get("tokens_per_second")]
    start = next((each for each in reversed(found.metrics) if each["kind"] == "start"), {})
    measured = measured_values(found, status.step)
    made = status.step / run.config.training.total_steps  # below 1 of one that early stopping ended
    noted = _noted(folder, run)
    unique_tokens = noted.pop(_UNIQUE, None) or epochs.unique_tokens(run)
    kaplan = CONVENTIONS["kaplan"].params(shape_of(run.config))
    return {
        "run": run.id,
        "family": run.family,
        "params": run.count.params,
        "non_embedding": kaplan,
        "tokens": round(made * run.count.tokens),
        _UNIQUE: unique_tokens,
        "flops": made * run.count.flops,
        **chief_values(found, measured),
        "steps": status.step,
        "own_steps": status.step - begun,
        "own_flops": (status.step - begun) / run.config.training.total_steps * run.count.flops,
        "trunk": trunk and place(trunk.run).name,
        "batch_size": run.config.training.batch_size,
        "highest_rate": run.config.schedule.highest,
        "seconds": status.cost.total_seconds,
        "goodput": status.cost.share,
        "tokens_per_second": sorted(speeds)[len(speeds) // 2] if speeds else None,
        "devices": start.get("devices"),
        **measured,
        **{f"finished/{name}": value for name, value in noted.items()},
        **{
            f"flops_{name}": made * count_run(run.config, name).flops
            for name in CONVENTIONS
            if name != "exact"
        },
    }


def _noted(folder: StoragePath, run: SweepRun) -> dict[str, Any]:
    file = folder / FINISHED / f"{run.id}.json"
    try:
        content = load_json(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged ({error}); delete it, the sweep writes it anew") from error
    return content if isinstance(content, dict) else {}


def _curve(run: SweepRun, found: Snapshot) -> list[dict[str, Any]]:
    """Return a row for each time that the training was evaluated, the start without a step left out."""
    total = run.config.training.total_steps
    return [
        {
            "run": run.id,
            "family": run.family,
            "params": run.count.params,
            "step": entry["step"],
            "tokens": run.count.tokens * entry["step"] // total,
            "flops": run.count.flops * entry["step"] / total,
            **{name: value for name, value in entry.items() if name not in ("kind", "step")},
        }
        for entry in found.metrics
        if entry["kind"] == "eval" and entry["step"]
    ]


def _settings(runs: Sequence[SweepRun]) -> list[dict[str, Any]]:
    """Return, for each run, the settings in which runs differ by field, and all of them as JSON."""
    whole = [to_json(dataclasses.replace(run.config, run_dir=run.id)) for run in runs]
    flat = [dict(_leaves(each, "config")) for each in whole]
    fields = dict.fromkeys(name for each in flat for name in each)
    differing = [name for name in fields if len({json.dumps(each.get(name)) for each in flat}) > 1]
    return [
        {name: each.get(name) for name in differing if name != "config.run_dir"}
        | {"config": json.dumps(content, sort_keys=True)}
        for each, content in zip(flat, whole, strict=True)
    ]


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, each in value.items() for leaf in _leaves(each, f"{path}.{name}")]
    return [(path, json.dumps(value) if isinstance(value, list) else value)]


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: Sequence[Row]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def has_parquet() -> bool:
    """Whether Parquet can be written here."""
    return importlib.util.find_spec("pyarrow") is not None


def _parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow  # only tables pay for it
    import pyarrow.parquet

    arrays = {name: _array([row.get(name) for row in rows]) for name in _columns(rows)}
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays), sink)
    return sink.getvalue().to_pybytes()


def _array(values: Sequence[Any]) -> Any:
    """Return a column; one that holds numbers in some rows and words in others holds words."""
    import pyarrow

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return pyarrow.array([None if value is None else float(value) for value in values])
    if len(kinds) > 1:
        return pyarrow.array([None if value is None else str(value) for value in values])
    return pyarrow.array(values)

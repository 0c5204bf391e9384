"""What a report is made of: whatever each place that was given holds, read by its own kind."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from t5lite.core.errors import ConfigError, ReportedError, TransientError
from t5lite.core.storage.addresses import StoragePath, no_bucket, place
from t5lite.scaling.report.reported_run import Material, ReportedRun
from t5lite.scaling.report.run_directories import RunDirectories
from t5lite.scaling.report.sweep_directories import SweepDirectories
from t5lite.scaling.report.table_files import TableFiles
from t5lite.scaling.tables import Reading, check_column


class Source(Protocol):
    """A kind of place that tells of runs."""

    about: str
    """What it is called."""

    def holds(self, path: StoragePath) -> bool:
        """Whether a place is one."""
        ...

    def read(self, path: StoragePath) -> Material:
        """Return its runs; raises ReportedError for what nothing can be read of."""
        ...


def sources(reading: Reading, by: str | None) -> tuple[Source, ...]:
    """Return every kind."""
    columns = reading.columns
    kinds = (RunDirectories(columns=columns), SweepDirectories(columns=columns))
    return (*kinds, TableFiles(reading=reading, by=by))


def read_all(paths: Sequence[str], kinds: Sequence[Source]) -> Material:
    """Return the runs of all places; what cannot be read of some is said, and each run is there once.

    Raises:
      ConfigError: if a place is of no kind.
      ReportedError: if nothing can be read at all.
    """
    runs: list[ReportedRun] = []
    notes: list[str] = []
    problems: list[ReportedError] = []
    for path, kind in [(place(path), _kind_of(place(path), kinds)) for path in paths]:
        try:
            found = kind.read(path)
        except ReportedError as error:
            problems.append(error)
            notes.append(f"{path} is not shown: {error}")
            continue
        runs += found.runs
        notes += found.notes
    if not runs:
        passing = any(isinstance(each, TransientError) for each in problems)
        said = "; ".join(map(str, problems)) or "; ".join(notes) or f"no run in {', '.join(paths)}"
        raise (TransientError if passing else ConfigError)(said)
    once = list({run.identity: run for run in reversed(runs)}.values())[::-1]
    if len(once) < len(runs):
        notes.append(f"{len(runs) - len(once)} of {len(runs)} runs are given twice; each is shown once")
    return Material(runs=tuple(once), notes=tuple(notes))


def check_columns(runs: Sequence[ReportedRun], reading: Reading) -> None:
    """Raise a DataError for a column that a law was to be of and that no run has.

    Of runs that are to come, nothing tells which columns they will have.
    """
    header = list(dict.fromkeys(column for run in runs if run.points for column in run.row))
    for column in reading.columns.values() if header else ():
        check_column(column, header, "the table of these runs")


def _kind_of(path: StoragePath, kinds: Sequence[Source]) -> Source:
    for kind in kinds:
        if kind.holds(path):
            return kind
    known = ", nor a ".join(kind.about for kind in kinds)
    missing = "does not exist" if not path.exists() else f"is not a {known}"
    raise ConfigError(f"{path} {missing}{no_bucket(path)}; see t5lite report --help")


def remarks(runs: Sequence[ReportedRun]) -> list[str]:
    """Say of runs what a reader of their curves and laws should know, with counts."""
    total = len(runs)
    states = Counter(run.state for run in runs if not run.is_finished)
    said = []
    if states:
        listed = ", ".join(f"{count} {state}" for state, count in states.most_common())
        said.append(f"{sum(states.values())} of {total} runs are not finished ({listed}): no law is of them")
    for count, text in (
        (sum(run.ended_early for run in runs), "ended before their last step, by early stopping"),
        (sum(run.curve is not None and run.curve.is_training for run in runs), "have no evaluation: their "
         "curves are of training batches (dotted)"),
        (sum(run.curve is None for run in runs), "have no curve: nothing is known of their losses over time"),
        (sum(run.num_lost > 0 for run in runs), f"have entries without a finite loss "
         f"({sum(run.num_lost for run in runs):,} in all), which are left out of curves"),
        (sum(run.num_repeated > 0 for run in runs), f"have steps twice "
         f"({sum(run.num_repeated for run in runs):,} entries): the later ones are shown"),
        (sum(run.num_rollbacks > 0 for run in runs), "went back to a checkpoint when their numbers went bad: "
         "the steps that count are shown"),
        (sum(run.num_starts > 1 for run in runs), "were started more than once"),
    ):  # fmt: skip
        if count:
            said.append(f"{count} of {total} runs {text}")
    return said


def software_of(runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return with which software runs were finished, with counts where it differs."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for name, version in run.software.items():
            found.setdefault(name, Counter())[version] += 1
    return {
        name: ", ".join(
            version if len(counts) == 1 else f"{version} ({count} runs)"
            for version, count in counts.most_common(4)
        )
        for name, counts in found.items()
        if name not in ("time", "unique_tokens")
    }


def newest_time(runs: Sequence[ReportedRun]) -> str:
    """Return when the newest that is known was written, or nothing."""
    noted = [run.software["time"] for run in runs if "time" in run.software]
    seen = [run.time for run in runs if run.time is not None]
    times = [*noted, *(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each)) for each in seen)]
    return max(times, default="")

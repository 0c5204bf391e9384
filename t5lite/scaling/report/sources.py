"""What a report is made of: whatever each place that was given holds, read by its own kind."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
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
    is_group: bool
    """Whether a place has families of its own; else runs of several places are of one."""

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

    Families of one name in several places are named after these, too: each has a law of its own.

    Raises:
      ConfigError: if a place is of no kind.
      ReportedError: if nothing can be read at all.
    """
    runs: list[tuple[str, ReportedRun]] = []
    notes: list[str] = []
    problems: list[ReportedError] = []
    for path, kind in [(place(path), _kind_of(place(path), kinds)) for path in paths]:
        try:
            found = kind.read(path)
        except ReportedError as error:
            problems.append(error)
            notes.append(f"{path} is not shown: {error}")
            continue
        runs += [(str(path) if kind.is_group else "", run) for run in found.runs]
        notes += found.notes
    if not runs:
        passing = any(isinstance(each, TransientError) for each in problems)
        said = "; ".join(map(str, problems)) or "; ".join(notes) or f"no run in {', '.join(paths)}"
        raise (TransientError if passing else ConfigError)(said)
    once = list({run.identity: (path, run) for path, run in reversed(runs)}.values())[::-1]
    if len(once) < len(runs):
        notes.append(f"{len(runs) - len(once)} of {len(runs)} runs are given twice; each is shown once")
    apart, more = _apart(once)
    return Material(runs=tuple(apart), notes=(*notes, *more))


def _apart(found: Sequence[tuple[str, ReportedRun]]) -> tuple[list[ReportedRun], list[str]]:
    """Return runs, families of one name in several places apart, and what is to be said of these.

    Args:
      found: each with its place; "" of those that no place groups, whose families keep their names.
    """
    counts: dict[str, Counter[str]] = {}
    for path, run in found:
        counts.setdefault(run.family, Counter())[path] += 1
    several = {family: places for family, places in counts.items() if len(places) > 1}
    if not several:
        return [run for _, run in found], []
    paths = {path: place(path).name for places in several.values() for path in places if path}
    names = Counter(paths.values())
    words = {path: name if name and names[name] == 1 else path for path, name in paths.items()}
    runs = [
        replace(run, family=": ".join(filter(None, (words[path], run.family))), called=run.family)
        if path and run.family in several
        else run
        for path, run in found
    ]
    listed = [
        f"{family or 'without a name'} (runs: {', '.join(f'{places[path]} {_of(path)}' for path in places)})"
        for family, places in several.items()
    ]
    return runs, [
        f"families of one name in several places have a law each: {', '.join(listed)}; for one law of all, "
        "give one table with their rows"
    ]


def _of(path: str) -> str:
    return f"of {path}" if path else "given by themselves"


def check_columns(runs: Sequence[ReportedRun], reading: Reading) -> None:
    """Raise a DataError for a column that a law was to be of and that no run has.

    Of runs that are to come, nothing tells which columns they will have.
    """
    header = list(dict.fromkeys(column for run in runs if run.points for column in run.row))
    for column in reading.named if header else ():
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

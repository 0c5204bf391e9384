"""``t5lite report``: one page of runs, sweeps and tables; or a quickstart's own report again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from t5lite.core import command_line
from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.files import check_apart, check_new_directory
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.quickstart.report import terminal_table
from t5lite.quickstart.report import write_report as write_quickstart_report
from t5lite.quickstart.results import RESULTS_FILE, load_results
from t5lite.scaling.analysis import FEWEST_RESAMPLES, Settings
from t5lite.scaling.methods import METHODS
from t5lite.scaling.report.predictions import read_predictions
from t5lite.scaling.report.sources import check_columns, read_all, sources
from t5lite.scaling.report.writing import PAGE, Report, write_report
from t5lite.scaling.tables import Reading

_QUICKSTART = "t5lite-quickstart"
_OUTPUT = "t5lite-report"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Make one self-contained page of runs, sweeps and tables, with its figures as PNG and its tables as CSV.

    Loss curves by steps, tokens, FLOPs and hours; isoFLOP profiles; laws with intervals and residuals;
    predictions beside outcomes; all runs. Nothing is trained or measured. The directory of a quickstart,
    given alone, has its own report made again from its results.json.
    """

    given: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN_OR_SWEEP …")]] = ()
    """Run directories, directories of sweeps, tables (.csv, .json, .jsonl, .parquet …): local, gs:// or s3://."""
    output: str = _OUTPUT
    """New directory of the report, local or in a bucket."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a report that is there."""
    columns: tuple[str, ...] = ()
    """Pairs OURS THEIRS for columns of other names, such as loss bits, that laws are fitted to."""
    by: str | None = None
    """Of tables: the column whose values are families; family by default."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Of fitting, as of t5lite scaling fit."""
    fit_below: float | None = None
    """FLOPs, such as 1e21: runs of so many or more are not fitted, but predicted, and compared run by run."""
    predictions: tuple[str, ...] = ()
    """Files that t5lite scaling fit … --predict-run N D --json wrote before, to hold against the runs."""
    keep_repeats: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fit runs that repeat tokens with the others, as if each token were new."""
    resamples: int = 100
    """Of the bootstrap."""
    directory: str | None = None
    """Of a quickstart; the same as to give it alone."""

    def __post_init__(self):
        expand_fields(self, "given", "output", "predictions", "directory")
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(f"unknown method {name!r}{suggestion(name, METHODS)}")
        if not self.methods:
            raise ConfigError(f"--methods names none; allowed: {', '.join(METHODS)}")
        if self.fit_below is not None and not 0 < self.fit_below < math.inf:
            raise ConfigError(f"fit_below={self.fit_below}: FLOPs are above 0 and finite")
        if self.resamples < FEWEST_RESAMPLES:
            raise ConfigError(
                f"resamples={self.resamples} is too few for intervals; give {FEWEST_RESAMPLES} or more"
            )
        if self.directory is not None and self.given:
            raise ConfigError(
                f"--directory {self.directory} is of a quickstart, whose report is of it alone; leave out "
                f"{' '.join(self.given)}, or --directory"
            )


def run(arguments: Sequence[str]) -> int:
    """Write the report and say where it is."""
    known = command_line.parse(Arguments, arguments, prog="t5lite report")
    given = known.given or (known.directory or _QUICKSTART,)
    if not known.given and known.directory is None and not _is_quickstart(place(_QUICKSTART)):
        raise ConfigError(
            "give runs, sweeps or tables: t5lite report RUN_OR_SWEEP …; nor is there a quickstart, whose "
            f"report is made again where none is given ({_QUICKSTART}/{RESULTS_FILE})"
        )
    if not known.given or any(_is_quickstart(place(each)) for each in given):
        return _quickstart(known, given)
    if known.by is not None and not any(place(each).is_file() for each in given):
        raise ConfigError(
            f"--by {known.by} is of tables, and none is given: runs and sweeps say their own families; leave "
            "it out, or give the sweep's table.csv"
        )
    output = place(known.output)
    check_new_directory(output, overwrite=known.overwrite, mark=PAGE)
    check_apart(output, [*given, *known.predictions])
    reading = Reading(columns=command_line.pairs("columns", known.columns))
    written = tuple(read_predictions(place(each)) for each in known.predictions)
    material = read_all(given, sources(reading, known.by))
    check_columns(material.runs, reading)
    for each in written:
        each.check_losses(material.runs)
    report = Report(
        given=given,
        material=material,
        loss=reading.columns.get("loss", "loss"),
        methods=known.methods,
        settings=Settings(
            fit_below=known.fit_below, keep_repeats=known.keep_repeats, num_resamples=known.resamples
        ),
        predictions=written,
    )
    page, said = write_report(report, output, overwrite=known.overwrite)
    count = len(material.runs)
    print("\n".join([*material.notes, *said, f"{count} run{'s' * (count != 1)}: {page}"]))
    return 0


def _is_quickstart(directory: StoragePath) -> bool:
    return (directory / RESULTS_FILE).is_file()


def _quickstart(known: Arguments, given: Sequence[str]) -> int:
    """Make the report of a quickstart again, and print its table."""
    if len(given) > 1:
        found = next(each for each in given if _is_quickstart(place(each)))
        raise ConfigError(
            f"{found} is a quickstart's, whose report is of it alone; give it alone, or its run, "
            f"{place(found) / 'pretrain'}"
        )
    directory = place(given[0])
    others = [each for each in fields(known) if each.name not in ("given", "directory")]
    besides = [each.name for each in others if getattr(known, each.name) != each.default]
    if besides and _is_quickstart(directory):
        raise ConfigError(
            f"{directory} is a quickstart's, whose report is made in its directory, as it was; leave out "
            f"{', '.join(f'--{name}'.replace('_', '-') for name in besides)}, or give its run, "
            f"{directory / 'pretrain'}"
        )
    results = load_results(directory / RESULTS_FILE)
    report = write_quickstart_report(results, directory)
    print(terminal_table(results))
    print(f"\n{report}")
    return 0

"""``t5lite scaling``: counts of a model, and laws of finished runs by every method that their table takes."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from t5lite.cli import scaling_count
from t5lite.core import command_line
from t5lite.core.errors import ConfigError, DataError, suggestion
from t5lite.core.files import check_apart, check_new_file, write_bytes
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.scaling.analysis import (
    FEWEST_RESAMPLES,
    Analysis,
    Settings,
    analyse,
    described,
    fitted_runs,
    highest_loss,
    warnings,
)
from t5lite.scaling.methods import METHODS
from t5lite.scaling.tables import Reading, Table

_PICTURES = (".png", ".svg")
_USAGE = "t5lite scaling fit TABLE: see t5lite scaling fit --help"
_COUNT_USAGE = "t5lite scaling count: see t5lite scaling count --help"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Fit scaling laws to a table of runs: parameters, tokens, FLOPs (two of the three are enough), loss.

    The table is .csv, .tsv, .json, .jsonl or .parquet, packed (.gz) or not. Methods: envelope, isoflop and
    chinchilla are the three approaches of Hoffmann et al. (2022); projection is the third by least squares;
    kaplan, and repetition of tokens.
    """

    table: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="TABLE")]] = ""
    """File, local, gs:// or s3://."""
    columns: tuple[str, ...] = ()
    """Pairs OURS THEIRS for columns of other names: params, tokens, flops, loss, unique_tokens, run; - as
    THEIRS says that there is none."""
    where: tuple[str, ...] = ()
    """Pairs COLUMN VALUE that rows must have."""
    by: str | None = None
    """A column; the runs of each of its values are fitted by themselves."""
    lowest: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fit only the best of the runs that have the same parameters and tokens, as of a search for rates."""
    loss_below: float = math.inf
    """Runs of such a loss or more are left out, as of those that diverged."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Which."""
    predict_flops: tuple[float, ...] = ()
    """Budgets, such as 1e24, to predict the best parameters, tokens and loss for."""
    predict_run: tuple[float, ...] = ()
    """Pairs N D, parameters and tokens of runs, such as 7e9 2e12, to predict the loss of."""
    fit_below: float | None = None
    """FLOPs, such as 1e21: rows of so many or more are not fitted, but predicted, and compared run by run."""
    keep_repeats: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fit runs that repeat tokens with the others, as if each token were new, which up to about four epochs
    is nearly so (Muennighoff et al., 2023); by default only repetition is of them."""
    resamples: int = 200
    """Of the bootstrap."""
    level: float = 0.9
    """Of intervals."""
    picture: str | None = None
    """New .png or .svg file; with --by, one table alone."""
    json: bool = False
    """Print one JSON object instead of text."""

    def __post_init__(self):
        if not self.table:
            raise ConfigError(f"give the file of a table: {_USAGE}")
        expand_fields(self, "table", "picture")
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(f"unknown method {name!r}{suggestion(name, METHODS)}")
        if not self.methods:
            raise ConfigError(f"--methods names none; allowed: {', '.join(METHODS)}")
        if any(not 0 < flops < 1e40 for flops in self.predict_flops):
            raise ConfigError(f"predict_flops={self.predict_flops}: FLOPs are above 0 and below 1e40")
        if len(self.predict_run) % 2 or any(not 0 < size < 1e40 for size in self.predict_run):
            raise ConfigError(
                f"predict_run={self.predict_run}: give pairs of parameters and tokens, above 0 and below 1e40"
            )
        if not self.loss_below > 0:
            raise ConfigError(f"loss_below={self.loss_below}: losses are above 0; give one, such as 5")
        if self.fit_below is not None and not 0 < self.fit_below < math.inf:
            raise ConfigError(f"fit_below={self.fit_below}: FLOPs are above 0 and finite")
        if self.resamples < FEWEST_RESAMPLES:
            raise ConfigError(
                f"resamples={self.resamples} is too few for intervals; give {FEWEST_RESAMPLES} or more"
            )
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"level={self.level}: give a share from 0.5 to below 1, such as 0.9")
        if self.picture is not None and self.by is not None:
            raise ConfigError("a picture is of one table; choose it by --where instead of --by")


def run(arguments: Sequence[str]) -> int:
    """Count, or fit, print and draw what was asked for, and return 0."""
    word = arguments[0] if arguments else ""
    if word == "count":
        return scaling_count.run(arguments[1:])
    if word != "fit":
        if word in ("-h", "--help"):
            print(f"{_COUNT_USAGE}\n{_USAGE}")
            return 0
        given = f"unknown word {word!r}; " if word else ""
        raise ConfigError(f"{given}{_COUNT_USAGE}; {_USAGE}")
    known = command_line.parse(Arguments, arguments[1:], prog="t5lite scaling fit")
    reading = Reading(
        columns=command_line.pairs("columns", known.columns),
        where=command_line.pairs("where", known.where),
        lowest=known.lowest,
        loss_below=known.loss_below,
    )
    drawn = _new_picture(known)
    settings = Settings(
        budgets=known.predict_flops,
        sizes=tuple(zip(known.predict_run[::2], known.predict_run[1::2], strict=True)),
        fit_below=known.fit_below,
        keep_repeats=known.keep_repeats,
        num_resamples=known.resamples,
        level=known.level,
    )
    tables = reading.tables(known.table, by=known.by)
    found = {
        key: [analyse(table.observations, METHODS[name], settings) for name in known.methods]
        for key, table in tables.items()
    }
    highest = max(highest_loss(table.observations, settings) for table in tables.values())
    notes = {
        key: [*table.notes, *warnings(table.observations, settings, highest=highest)]
        for key, table in tables.items()
    }
    if known.json:
        asked = {"columns": dict(reading.columns), "where": dict(reading.where), "by": known.by}
        content = {key: asked | _json(tables[key], notes[key], each, settings) for key, each in found.items()}
        print(json.dumps(_finite(content), indent=2, allow_nan=False))
    else:
        for key, each in found.items():
            name = f"{known.table}, {known.by}={key}" if key else known.table
            print("\n".join(_text(name, tables[key], notes[key], each, settings)))
    if not any(analysis.fitted for each in found.values() for analysis in each):
        raise DataError(f"{known.table}: no method could be fitted; why not is said of each above")
    if drawn is not None:
        from t5lite.scaling.pictures import picture  # only a picture pays for matplotlib

        ((key, table),) = tables.items()
        title = f"{len(table.observations)} runs of {place(known.table).name}"
        title += "".join(f", {column}={value}" for column, value in reading.where.items())
        shown = fitted_runs(table.observations, settings)
        write_bytes(drawn, picture(shown, found[key], title=title, format=drawn.suffix.lower()[1:]))
    return 0


def _new_picture(known: Arguments) -> StoragePath | None:
    if known.picture is None:
        return None
    file = place(known.picture)
    check_new_file(file)
    check_apart(file, [known.table])
    if file.suffix.lower() not in _PICTURES:
        raise ConfigError(f"--picture {file}: give a name in {' or '.join(_PICTURES)}")
    if file.exists():
        raise ConfigError(f"--picture {file} is there already; give another name, or delete it")
    return file


def _text(
    name: str, table: Table, notes: Sequence[str], analyses: Sequence[Analysis], settings: Settings
) -> list[str]:
    lines = [f"{name}: {described(table.observations, settings)}"]
    lines += [f"warning: {note}" for note in notes]
    if renamed := [f"{name}={column}" for name, column in table.meant.items() if name != column]:
        lines.append(f"columns: {', '.join(renamed)}")
    for analysis in analyses:
        lines += ["", f"{analysis.method.name}: {analysis.method.about}"]
        width = max((len(each) for each in analysis.numbers), default=0)
        for each, value in analysis.numbers.items():
            interval = analysis.intervals.get(each)
            shown = "" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"
            lines.append(f"  {each:{width}}  {value:<10.4g}  {shown}".rstrip())
        lines += [f"  held out: {each}" for each in analysis.held_out]
        verb = "" if analysis.fitted else "not fitted: "
        lines += [f"  {verb}{note}" for note in analysis.notes]
    is_of_runs = bool(settings.sizes) or any(analysis.held_out for analysis in analyses)
    scatter = ", of a run's loss without the scatter of single runs" * is_of_runs
    return [*lines, "", f"behind each number: its {settings.level:.0%} interval{scatter}", ""]


def _json(
    table: Table, notes: Sequence[str], analyses: Sequence[Analysis], settings: Settings
) -> dict[str, Any]:
    return {
        "meant": dict(table.meant),
        "runs": len(fitted_runs(table.observations, settings)),
        "notes": list(notes),
        "methods": {
            analysis.method.name: {
                "fitted": analysis.fitted is not None,
                "numbers": analysis.numbers,
                "intervals": {key: dataclasses.asdict(each) for key, each in analysis.intervals.items()},
                "held_out": [dataclasses.asdict(each) for each in analysis.held_out],
                "notes": list(analysis.notes),
            }
            for analysis in analyses
        },
    }


def _finite(value: Any) -> Any:
    """Return JSON's values with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

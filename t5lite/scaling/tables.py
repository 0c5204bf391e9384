"""Tables of finished runs: CSV, TSV, JSON (lines) or Parquet, with whatever their columns are called."""

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t5lite.core.errors import ConfigError, DataError, question, suggestion
from t5lite.scaling.column_names import (
    NAMES,
    NO_COLUMN,
    SIZES,
    is_bits,
    is_perplexity,
    meanings,
    note_of_unknown_unit,
    plain,
    unit_of,
)
from t5lite.scaling.observations import Observations
from t5lite.scaling.row_files import BEYOND, read_rows
from t5lite.scaling.written_numbers import Writing

_NEEDED = (*SIZES, "loss")
_NUMBERS = (*_NEEDED, "unique_tokens")
_FAR_APART = 0.03
"""Of losses at the same sizes; by another seed they differ by a tenth of that."""
_LACKING = math.nan
"""Unique tokens of a row that does not say them: its own tokens."""
_NAMED = ("name", "model", "model_name", "id")
"""What columns are called that may name trainings, or sizes."""
_Sizes = Mapping[str, Any]
"""Numbers, or arrays of them, by name."""


@dataclass(frozen=True)
class _Third:
    """A size that the two others tell by C = 6 N D."""

    words: str
    formula: str
    of: Callable[[_Sizes], Any]


_THIRD = {
    "flops": _Third("FLOPs", "6 x parameters x tokens", lambda of: 6.0 * of["params"] * of["tokens"]),
    "params": _Third("parameters", "FLOPs / (6 x tokens)", lambda of: of["flops"] / (6.0 * of["tokens"])),
    "tokens": _Third("tokens", "FLOPs / (6 x parameters)", lambda of: of["flops"] / (6.0 * of["params"])),
}
_IMPOSSIBLE = {"params": 1e13, "tokens": 1e14, "unique_tokens": 1e14, "flops": 1e28}
"""Sizes that no run has, by which numbers are told that are not in the unit of their column's name."""
_LEAST_RATIO, _MOST_RATIO = 1.5, 12.0
"""Of FLOPs to parameters times tokens: half of an encoder-decoder's 3, twice a decoder's 6."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The runs of a table, and what is to be said of how they were read.

    Attributes:
      observations: the runs.
      notes: what was left out or supplied, with counts, a sentence each.
      meant: which column is which, by what it means.
    """

    observations: Observations
    notes: tuple[str, ...]
    meant: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What rows hold, by what it means.

    Attributes:
      columns: numbers of every row, [P], what follows from C = 6 N D among them; NaN where a cell has none.
      runs: names, [P]; where a row stands if it has none, "" if there is no column of names.
      used: rows that count, [P]: they have all numbers, and repeat no other.
      notes: of what is left out, and what losses and sizes were taken to be, a sentence each.
    """

    columns: Mapping[str, np.ndarray]
    runs: Sequence[str]
    used: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How the cells of a file are read.

    Attributes:
      writing: how numbers are written.
      units: of numbers that name none of their own, by what their column means; 1 where there is none.
      notes: of units, a sentence each.
    """

    writing: Writing
    units: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def number(self, value: Any, name: str, column: str) -> float:
        """Return a cell as a number.

        Raises:
          ValueError: if it is none, or none that counts.
        """
        if name == "unique_tokens" and (value is None or not str(value).strip()):
            return _LACKING
        may_be_large, unit = name != "loss" or is_perplexity(column), self.units.get(name, 1.0)
        try:
            number = self.writing.number(value, may_be_large=may_be_large, unit=unit)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"column {column!r} has {value!r}, no number") from None
        least = 1.0 if name == "loss" and is_perplexity(column) else 0.0
        if not (math.isfinite(number) and number > least):
            raise ValueError(f"column {column!r} has {value!r}; numbers are above {least:g} and finite")
        if unit != 1 and number > _IMPOSSIBLE[name]:
            raise ValueError(f"column {column!r} has {value!r}, in units of {unit:g} more than any run has")
        return math.log(number) if least else number


@dataclass(kw_only=True)
class _LeftOut:
    count: int = 0
    first: str = ""

    def add(self, reason: str) -> None:
        self.count += 1
        self.first = self.first or reason


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a table is read.

    Attributes:
      columns: names of the table for some of ``params``, ``tokens``, ``flops``, ``loss``,
      ``unique_tokens``, ``run``; "-" of what it has none for.
      where: values of columns that rows must have, as texts.
      lowest: whether of runs of the same sizes only the best is taken, as of a search for rates.
      loss_below: runs of such a loss or more are left out.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    lowest: bool = False
    loss_below: float = math.inf

    def __post_init__(self):
        for name in self.columns:
            if name not in NAMES:
                raise ConfigError(
                    f"--columns names {name!r}, which no table is read for{suggestion(name, NAMES)}"
                )

    @property
    def named(self) -> list[str]:
        """The columns that a table is to have."""
        return [column for column in self.columns.values() if column != NO_COLUMN]

    def tables(self, path: str, *, by: str | None = None) -> dict[str, Table]:
        """Return the runs of a file, by the value of the column ``by``; all under "" without one.

        A group of which no row can be used is empty, and its notes say why.

        Raises:
          DataError: if the file is missing, empty, of no known format, or lacks a column, or no row can
          be used.
        """
        header, rows = read_rows(path)
        meant = self.meant(header, path)
        for column in [*self.where, *([] if by is None else [by])]:
            check_column(column, header, path)
        groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for number, row in rows:
            if all(_text(row.get(column)) == value for column, value in self.where.items()):
                key = "" if by is None else _text(row.get(by))
                groups.setdefault(key, []).append((f"{path}:{number}", row))
        if not groups:
            wanted = " and ".join(f"{column}={value}" for column, value in self.where.items())
            found = sorted({_text(row.get(next(iter(self.where), ""))) for _, row in rows})[:10]
            raise DataError(
                f"{path} has no row of {wanted or 'data'}"
                + (f"; the first such column has: {', '.join(found)}" if self.where else "")
            )
        cells = cells_of([row for _, row in rows], meant)
        tables = {
            key: table_of(of_group, meant, cells=cells, lowest=self.lowest, loss_below=self.loss_below)
            for key, of_group in groups.items()
        }
        if not any(len(table.observations) for table in tables.values()):
            raise DataError(f"{path} has no row that can be used: {next(iter(tables.values())).notes[0]}")
        return tables

    def meant(self, header: Sequence[str], path: str) -> dict[str, str]:
        """Return which column of a table is which, by what it means.

        Raises:
          DataError: if it lacks some, or has several for one.
        """
        for column in self.named:
            check_column(column, header, path)
        return meanings(header, self.columns, path)


def table_of(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    meant: Mapping[str, str],
    *,
    cells: Cells | None = None,
    lowest: bool = False,
    loss_below: float = math.inf,
) -> Table:
    """Return the runs of rows; arguments are those of ``numbers_of``, the last two those of ``Reading``."""
    numbers = numbers_of(rows, meant, cells=cells)
    notes, high = [*numbers.notes], numbers.used & (numbers.columns["loss"] >= loss_below)
    if high.any():
        notes.insert(0, f"{high.sum()} of {len(rows)} rows left out: losses of {loss_below:g} or more")
    used = numbers.used & ~high
    if not used.any():
        nothing = Observations(**dict.fromkeys(_NEEDED, np.empty(0)))
        return Table(observations=nothing, notes=tuple(notes), meant=meant)
    arrays = {name: values[used] for name, values in numbers.columns.items()}
    runs = [run for run, is_used in zip(numbers.runs, used, strict=True) if is_used]
    notes += _unusual(arrays) if meant.keys() >= set(_NEEDED) else ()
    if "unique_tokens" in arrays:
        unique = arrays["unique_tokens"]
        arrays["unique_tokens"] = np.where(np.isnan(unique), arrays["tokens"], unique)
    several = 1 < len(set(runs)) < len(runs)
    if "run" in meant and len(set(runs)) == 1 < len(runs):
        notes.append(
            f"column {meant['run']!r} has one name, {runs[0]!r}; each row counts as a run of its own"
        )
    observations = Observations(
        params=arrays["params"],
        tokens=arrays["tokens"],
        flops=arrays["flops"],
        loss=arrays["loss"],
        unique_tokens=arrays.get("unique_tokens"),
        runs=np.array(runs) if several else None,
    )
    is_lowest = observations.loss <= observations.lowest_alike()
    if not lowest:
        return Table(observations=observations, notes=(*notes, *_searched(observations)), meant=meant)
    if not is_lowest.all():
        notes.append(
            f"{np.sum(~is_lowest)} of {len(used)} rows left out: another run of their sizes is better"
        )
    return Table(observations=observations.take(is_lowest), notes=tuple(notes), meant=meant)


def _searched(observations: Observations) -> list[str]:
    """Say of runs of the same sizes whose losses are so far apart that they are a search for the best."""
    above = np.log(observations.loss / observations.lowest_alike())
    if not (far := int(np.sum(above > _FAR_APART))):
        return []
    return [
        f"{far} of {len(above)} runs are worse than another of the same sizes by {_FAR_APART:.0%} or more "
        f"(at most {np.expm1(above.max()):.0%}); if rates were searched for, --lowest fits the best of each"
    ]


def numbers_of(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    meant: Mapping[str, str],
    *,
    cells: Cells | None = None,
) -> Numbers:
    """Return the numbers of rows.

    Args:
      rows: each with where it stands.
      meant: which column is which.
      cells: how the file of the rows is read; told by these rows, by default.
    """
    left_out, seen, repeated = _LeftOut(), set(), _LeftOut()
    names = [name for name in _NUMBERS if name in meant]
    cells = cells or cells_of([row for _, row in rows], meant)
    read, runs, used, filled = [], [], [], Counter[str]()
    for where, row in rows:
        values, problems = _values(row, names, meant, cells)
        blank = _blank_size(row, meant)
        if blank and not problems:
            values[names.index(blank)] = float(_THIRD[blank].of(dict(zip(names, values, strict=True))))
            filled[blank] += 1
        # A row without a name is a run of its own.
        run = (_text(row.get(meant["run"])) or where) if "run" in meant else ""
        key = (run, *values)
        used.append(not problems and key not in seen)
        if problems:
            left_out.add(f"{where}: {problems[0]}")
        elif key in seen:
            repeated.add(where)
        else:
            seen.add(key)
        read.append(values)
        runs.append(run)
    arrays = dict(zip(names, np.array(read, float).reshape(-1, len(names)).T, strict=True))
    notes = []
    if left_out.count:
        notes.append(f"{left_out.count} of {len(rows)} rows left out, the first {left_out.first}")
    if repeated.count:
        notes.append(
            f"{repeated.count} of {len(rows)} rows repeat another, the first {repeated.first}; taken once"
        )
    notes += [
        f"{count} of {len(rows)} rows have no {_THIRD[name].words}: taken as {_THIRD[name].formula}"
        for name, count in filled.items()
    ]
    supplied = _supply(arrays)
    if any(used):
        notes += [*_of_the_loss(meant["loss"], cells.writing), *cells.notes, *supplied]
    return Numbers(columns=arrays, runs=runs, used=np.array(used, bool), notes=tuple(notes))


def _values(
    row: Mapping[str, Any], names: Sequence[str], meant: Mapping[str, str], cells: Cells
) -> tuple[list[float], list[str]]:
    """Return the numbers of a row, NaN where a cell has none, and what is wrong with it."""
    if any(row.get(BEYOND, ())):
        return [math.nan] * len(names), ["it has more cells than there are columns"]
    values, problems = [], []
    blank = _blank_size(row, meant)
    for name in names:
        if name == blank:
            values.append(math.nan)
            continue
        try:
            values.append(cells.number(row.get(meant[name]), name, meant[name]))
        except ValueError as error:
            values.append(math.nan)
            problems.append(str(error))
    return values, problems


def _blank_size(row: Mapping[str, Any], meant: Mapping[str, str]) -> str | None:
    """Return the size that a row leaves blank while it has both others, which tell it; None without one."""
    if not meant.keys() >= set(SIZES):
        return None
    blank = [name for name in SIZES if not _text(row.get(meant[name])).strip()]
    return blank[0] if len(blank) == 1 else None


def cells_of(rows: Sequence[Mapping[str, Any]], meant: Mapping[str, str]) -> Cells:
    """Return how the cells of a file are read: sizes are in the units that their columns' names have.

    If half of a column's numbers would be larger than any run's, it is of whole ones, whatever its name says.
    """
    loss = meant["loss"]
    writing = Writing.of((row.get(loss) for row in rows), may_be_large=is_perplexity(loss))
    units, notes = {}, []
    for name, column in meant.items():
        if name in _IMPOSSIBLE and (note := note_of_unknown_unit(column)):
            notes.append(note)
        unit = unit_of(column).multiple if name in _IMPOSSIBLE else 1.0
        if unit == 1:
            continue
        numbers = list(_plain_numbers((row.get(column) for row in rows), writing))
        typical = float(np.median(numbers)) * unit if numbers else 0.0
        if typical > _IMPOSSIBLE[name]:
            notes.append(
                f"column {column!r} is not taken in units of {unit:g}, as its name says: {typical:.3g} "
                f"{name.replace('_', ' ')} are more than any run has"
            )
        elif numbers:
            units[name] = unit
            notes.append(f"column {column!r} is in units of {unit:g}")
    return Cells(writing=writing, units=units, notes=(*notes, *_may_be_curves(rows, meant)))


def _may_be_curves(rows: Sequence[Mapping[str, Any]], meant: Mapping[str, str]) -> list[str]:
    """Say which column may tell the trainings that rows are points of, where none is taken for it."""
    if meant.keys() & {"run"} or not meant.keys() >= {"params", "tokens"}:
        return []
    for column in (each for row in rows[:1] for each in row if plain(each) in _NAMED):
        named: dict[str, tuple[set[str], set[str]]] = {}
        for row in rows:
            params, tokens = named.setdefault(_text(row.get(column)), (set(), set()))
            params.add(_text(row.get(meant["params"])))
            tokens.add(_text(row.get(meant["tokens"])))
        if all(len(params) == 1 < len(tokens) for params, tokens in named.values()):
            return [
                f"rows of one {column!r} have one number of parameters and several of tokens: if they are "
                f"points of one training, give --columns run {shlex.quote(column)}; else intervals are narrow"
            ]
    return []


def _plain_numbers(values: Iterable[Any], writing: Writing) -> Iterator[float]:
    """Yield the numbers that name no unit of their own."""
    for value in values:
        try:
            number = math.nan if writing.names_unit(value) else writing.number(value, may_be_large=True)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            yield number


def _of_the_loss(column: str, writing: Writing) -> list[str]:
    """Say what the losses were taken to be."""
    said = []
    if writing.decimal_comma:
        said.append("losses have commas: numbers are read with decimal commas")
    if is_perplexity(column):
        said.append(f"column {column!r} is a perplexity, whose logarithm is the loss")
    if is_bits(column):
        said.append(f"column {column!r} is taken as the loss: E, A, B and losses are in bits")
    return said


def _supply(arrays: dict[str, np.ndarray]) -> list[str]:
    """Add what follows from the two others by C = 6 N D, and say so."""
    lacking = [name for name in SIZES if name not in arrays]
    if len(lacking) != 1:
        return []
    third = _THIRD[lacking[0]]
    arrays[lacking[0]] = third.of(arrays)
    return [f"the table has no {third.words}: taken as {third.formula}"]


def _unusual(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Say of FLOPs that are far from 6 N D."""
    ratio = arrays["flops"] / (arrays["params"] * arrays["tokens"])
    low, high = float(ratio.min()), float(ratio.max())
    if unusual := int(np.sum((ratio < _LEAST_RATIO) | (ratio > _MOST_RATIO))):
        return [
            f"FLOPs are {low:.3g} to {high:.3g} times parameters x tokens, where 6 is usual, 3 of "
            f"encoder-decoders (below {_LEAST_RATIO:g} or above {_MOST_RATIO:g} in {unusual} of {len(ratio)} "
            "rows): are the units right?"
        ]
    return []


def check_column(column: str, header: Sequence[str], path: str) -> None:
    """Raise a DataError for a column that a file has not."""
    if column not in header:
        hint = question(column, header)
        raise DataError(f"{path} has no column {column!r};{hint and f' {hint}'} it has: {', '.join(header)}")


def _text(value: Any) -> str:
    return "" if value is None else str(value)

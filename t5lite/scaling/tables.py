"""Tables of finished runs: CSV, TSV, JSON lines or Parquet, with whatever their columns are called."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t5lite.core.errors import ConfigError, DataError, question, suggestion
from t5lite.core.storage.addresses import place
from t5lite.scaling.observations import Observations
from t5lite.scaling.written_numbers import Writing

NAMES: Mapping[str, tuple[str, ...]] = {
    "params": ("params", "parameters", "num_params", "n_params", "num_parameters", "n_parameters", "n"),
    "tokens": ("tokens", "num_tokens", "n_tokens", "training_tokens", "train_tokens", "tokens_seen", "d"),
    "flops": ("flops", "flop", "training_flops", "train_flops", "total_flops", "budget", "compute", "c"),
    "loss": (
        *("loss", "heldout_loss", "eval_loss", "val_loss", "valid_loss", "validation_loss", "test_loss"),
        *("final_loss", "nll", "l"),
    ),
    "unique_tokens": ("unique_tokens", "u"),
    "run": ("run", "run_name", "run_id"),
}
"""What columns mean, and what they are called; letters' case, spaces, hyphens and slashes do not count."""
_BITS = ("bits", "bits_per_byte", "bits_per_token", "bits_per_character", "bpb", "bpc")
_PERPLEXITIES = (
    "perplexity",
    "ppl",
    *(f"{name}_{each}" for name in ("val", "eval", "test", "validation") for each in ("perplexity", "ppl")),
)
_OTHER_LOSSES = (*_BITS, *_PERPLEXITIES)
"""What is taken where no column is called a loss."""
_OF_BITS = re.compile(r"(^|_)(bits|bpb|bpc)(_|$)")
_OF_PERPLEXITY = re.compile(r"(^|_)(perplexity|ppl)(_|$)")
"""In the name of a column that is taken as the loss."""

Rows = tuple[list[str], list[tuple[int, Mapping[str, Any]]]]
"""Names of columns, and rows with their line numbers (of Parquet, row numbers)."""

_SIZES = ("params", "tokens", "flops", "loss")
_NUMBERS = (*_SIZES, "unique_tokens")
BEYOND = "\0"
"""Under which rows keep the cells that no column is of; no file of text has such a name."""
_LACKING = math.nan
"""Unique tokens of a row that does not say them: its own tokens."""
_FLOPS_PER_PAIR = 6.0
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
      ``unique_tokens``, ``run``. where: values of columns that rows must have, as texts.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in self.columns:
            if name not in NAMES:
                raise ConfigError(
                    f"--columns names {name!r}, which no table is read for{suggestion(name, NAMES)}"
                )

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
        writing = writing_of((row for _, row in rows), meant["loss"])
        tables = {key: table_of(of_group, meant, writing=writing) for key, of_group in groups.items()}
        if not any(len(table.observations) for table in tables.values()):
            raise DataError(f"{path} has no row that can be used: {next(iter(tables.values())).notes[0]}")
        return tables

    def meant(self, header: Sequence[str], path: str) -> dict[str, str]:
        """Return which column of a table is which, by what it means.

        Raises:
          DataError: if it lacks some, or has several for one.
        """
        meant = {}
        for name, usual in NAMES.items():
            if name in self.columns:
                check_column(self.columns[name], header, path)
                meant[name] = self.columns[name]
                continue
            found = [column for column in header if _plain(column) in usual]
            # A column "l" may be anything, such as layers; beside another loss it is not taken for one.
            if name == "loss" and all(_plain(column) == "l" for column in found):
                found += [column for column in header if _plain(column) in _OTHER_LOSSES]
            if name in found:  # beside which a sweep's table has heldout/loss
                found = [column for column in found if "/" not in column]
            if len(found) > 1:
                raise DataError(
                    f"{path} has several columns for {name}: {', '.join(found)}; say which by "
                    f"--columns {name} {found[0]}"
                )
            if found:
                meant[name] = found[0]
        sizes = [name for name in ("params", "tokens", "flops") if name in meant]
        if "loss" not in meant or len(sizes) < 2:
            lacking = "loss" if "loss" not in meant else "two of params, tokens and flops"
            raise DataError(
                f"{path} has no column for {lacking} among {', '.join(header)}; name columns by --columns "
                "OURS THEIRS, such as --columns params n_params loss final"
            )
        return meant


def table_of(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    meant: Mapping[str, str],
    *,
    writing: Writing | None = None,
) -> Table:
    """Return the runs of rows; arguments are those of ``numbers_of``."""
    numbers = numbers_of(rows, meant, writing=writing)
    used = numbers.used
    if not used.any():
        nothing = Observations(**dict.fromkeys(_SIZES, np.empty(0)))
        return Table(observations=nothing, notes=numbers.notes, meant=meant)
    arrays = {name: values[used] for name, values in numbers.columns.items()}
    runs = [run for run, is_used in zip(numbers.runs, used, strict=True) if is_used]
    notes = [*numbers.notes, *(_unusual(arrays) if meant.keys() >= set(_SIZES) else ())]
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
    return Table(observations=observations, notes=tuple(notes), meant=meant)


def numbers_of(
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    meant: Mapping[str, str],
    *,
    writing: Writing | None = None,
) -> Numbers:
    """Return the numbers of rows.

    Args:
      rows: each with where it stands.
      meant: which column is which.
      writing: how the file of the rows writes numbers; told by these rows, by default.
    """
    left_out, seen, repeated = _LeftOut(), set(), _LeftOut()
    names = [name for name in _NUMBERS if name in meant]
    writing = writing or writing_of((row for _, row in rows), meant["loss"])
    cells, runs, used = [], [], []
    for where, row in rows:
        values, problems = _cells(row, names, meant, writing)
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
        cells.append(values)
        runs.append(run)
    arrays = dict(zip(names, np.array(cells, float).reshape(-1, len(names)).T, strict=True))
    notes = []
    if left_out.count:
        notes.append(f"{left_out.count} of {len(rows)} rows left out, the first {left_out.first}")
    if repeated.count:
        notes.append(
            f"{repeated.count} of {len(rows)} rows repeat another, the first {repeated.first}; taken once"
        )
    supplied = _supply(arrays)
    if any(used):
        notes += [*_of_the_loss(meant["loss"], writing), *supplied]
    return Numbers(columns=arrays, runs=runs, used=np.array(used, bool), notes=tuple(notes))


def _cells(
    row: Mapping[str, Any], names: Sequence[str], meant: Mapping[str, str], writing: Writing
) -> tuple[list[float], list[str]]:
    """Return the numbers of a row, NaN where a cell has none, and what is wrong with it."""
    if any(row.get(BEYOND, ())):
        return [math.nan] * len(names), ["it has more cells than there are columns"]
    values, problems = [], []
    for name in names:
        try:
            values.append(_number(row.get(meant[name]), name, meant[name], writing))
        except ValueError as error:
            values.append(math.nan)
            problems.append(str(error))
    return values, problems


def writing_of(rows: Iterable[Mapping[str, Any]], loss: str) -> Writing:
    """Return how rows write numbers, of which ``loss`` is the column of the loss."""
    return Writing.of((row.get(loss) for row in rows), may_be_large=_is_perplexity(loss))


def _of_the_loss(column: str, writing: Writing) -> list[str]:
    """Say what the losses were taken to be."""
    said = []
    if writing.decimal_comma:
        said.append("losses have commas: numbers are read with decimal commas")
    if _is_perplexity(column):
        said.append(f"column {column!r} is a perplexity, whose logarithm is the loss")
    if _OF_BITS.search(_plain(column)):
        said.append(f"column {column!r} is taken as the loss: E, A, B and losses are in bits")
    return said


def _supply(arrays: dict[str, np.ndarray]) -> list[str]:
    """Add what follows from the two others by C = 6 N D, and say so."""
    if len(arrays.keys() & {"params", "tokens", "flops"}) < 2:
        return []
    if "flops" not in arrays:
        arrays["flops"] = _FLOPS_PER_PAIR * arrays["params"] * arrays["tokens"]
        return ["the table has no FLOPs: taken as 6 x parameters x tokens"]
    if "params" not in arrays:
        arrays["params"] = arrays["flops"] / (_FLOPS_PER_PAIR * arrays["tokens"])
        return ["the table has no parameters: taken as FLOPs / (6 x tokens)"]
    if "tokens" not in arrays:
        arrays["tokens"] = arrays["flops"] / (_FLOPS_PER_PAIR * arrays["params"])
        return ["the table has no tokens: taken as FLOPs / (6 x parameters)"]
    return []


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


def _number(value: Any, name: str, column: str, writing: Writing) -> float:
    if name == "unique_tokens" and (value is None or not str(value).strip()):
        return _LACKING
    try:
        number = writing.number(value, may_be_large=name != "loss" or _is_perplexity(column))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"column {column!r} has {value!r}, no number") from None
    least = 1.0 if name == "loss" and _is_perplexity(column) else 0.0
    if not (math.isfinite(number) and number > least):
        raise ValueError(f"column {column!r} has {value!r}; numbers are above {least:g} and finite")
    return math.log(number) if least else number


def scale_of(column: str) -> str:
    """Return as what losses of a column are compared.

    Its usual names and perplexities, of which logarithms are taken, are one, "loss"; any other is of its own.
    """
    plain = _plain(column)
    return "loss" if plain in NAMES["loss"] or plain in _PERPLEXITIES else plain


def check_column(column: str, header: Sequence[str], path: str) -> None:
    """Raise a DataError for a column that a file has not."""
    if column not in header:
        hint = question(column, header)
        raise DataError(f"{path} has no column {column!r};{hint and f' {hint}'} it has: {', '.join(header)}")


def _is_perplexity(column: str) -> bool:
    return _OF_PERPLEXITY.search(_plain(column)) is not None


def _plain(column: str) -> str:
    return re.sub(r"[\s/.-]+", "_", column.strip().lower())


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def read_rows(path: str) -> Rows:
    """Return the columns and rows of a file.

    Raises:
      DataError: if it is missing, empty or of no known format.
    """
    file = place(path)
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".parquet": _parquet}
    if file.suffix.lower() not in readers:
        raise DataError(f"{path}: a table is a file whose name ends in {', '.join(readers)}")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory; give the file of a table") from None
    header, rows = readers[file.suffix.lower()](content, path)
    if twice := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice; give each a name of its own")
    if not rows:
        raise DataError(f"{path} has no rows")
    return header, rows


def _csv(content: bytes, path: str, delimiter: str = ",") -> Rows:
    text = _decoded(content, path)
    head = text.partition("\n")[0]
    if delimiter not in head:  # as spreadsheets write it where commas are decimal
        delimiter = max(";\t|", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=BEYOND)
    try:
        rows: list[tuple[int, Mapping[str, Any]]] = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error
    return list(reader.fieldnames or []), rows


def _tsv(content: bytes, path: str) -> Rows:
    return _csv(content, path, "\t")


def _json_lines(content: bytes, path: str) -> Rows:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(_decoded(content, path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: a line is a JSON object with a value for each column")
        rows.append((number, row))
    return _union(row for _, row in rows), rows


def _parquet(content: bytes, path: str) -> Rows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow; pip install 't5lite[data]'") from error
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        table.validate(full=True)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    return list(table.column_names), list(enumerate(table.to_pylist(), start=1))


def _union(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _decoded(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {error.start}") from error

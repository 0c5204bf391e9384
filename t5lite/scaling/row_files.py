"""The rows of a file of a table: CSV, TSV, JSON, JSON lines or Parquet, packed or not."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import not_a_file, place
from t5lite.data.reading.input_files import compression
from t5lite.data.reading.lines import open_text
from t5lite.data.reading.record_texts import FileReading
from t5lite.scaling.column_names import NAMES, plain

Rows = tuple[list[str], list[tuple[int, Mapping[str, Any]]]]
"""Names of columns, and rows with their line numbers (of Parquet, row numbers)."""
_PICKLES = (".pkl", ".pickle")
BEYOND = "\0"
"""Under which rows keep the cells that no column is of; no file of text has such a name."""


def read_rows(path: str) -> Rows:
    """Return the columns and rows of a file.

    Raises:
      DataError: if it is missing, empty or of no known format.
    """
    file = place(path)
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".json": _json, ".parquet": _parquet}
    suffix = file.suffix.lower()
    if packed := compression(path):
        suffix = file.with_suffix("").suffix.lower()
    if suffix not in readers:
        hint = "; a pickle runs code: write it anew by pandas' to_csv" if suffix in _PICKLES else ""
        raise DataError(
            f"{path}: a table is a file whose name ends in {', '.join(readers)}, .gz, .xz or .zst behind it "
            f"or not{hint}"
        )
    try:
        content = file.read_bytes() if not packed else _unpacked(str(file))
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path} {not_a_file(file)}; give the file of a table") from None
    header, rows = readers[suffix](content, path)
    if twice := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
        raise DataError(f"{path} has the column {twice[0]!r} twice; give each a name of its own")
    if not rows:
        raise DataError(f"{path} has no rows")
    return header, rows


def _csv(content: bytes, path: str, delimiter: str = ",") -> Rows:
    whole = _decoded(content, path)
    text = whole.lstrip("\r\n")
    blank = whole[: len(whole) - len(text)].count("\n")
    head = text.partition("\n")[0]
    if delimiter not in head:  # as spreadsheets write it where commas are decimal
        delimiter = max(";\t|,", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=BEYOND)
    try:
        rows: list[tuple[int, Mapping[str, Any]]] = [(blank + reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{blank + reader.line_num}: {error}") from error
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


def _json(content: bytes, path: str) -> Rows:
    """Read an array of objects, or an object of columns or of runs, as pandas writes them."""
    try:
        whole = json.loads(_decoded(content, path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if isinstance(whole, dict) and whole and all(isinstance(each, dict) for each in whole.values()):
        keys = dict.fromkeys(key for cells in whole.values() for key in cells)
        if _has_meaning(keys) and not _has_meaning(whole):
            whole = [{"run": run, **cells} for run, cells in whole.items()]
        else:
            whole = [{column: cells.get(key) for column, cells in whole.items()} for key in keys]
    if isinstance(whole, dict) and whole and all(isinstance(each, list) for each in whole.values()):
        if len({len(cells) for cells in whole.values()}) > 1:
            raise DataError(f"{path}: its columns have different numbers of cells")
        whole = [dict(zip(whole, cells, strict=True)) for cells in zip(*whole.values(), strict=True)]
    if not isinstance(whole, list) or not all(isinstance(row, dict) for row in whole):
        raise DataError(f"{path}: a table in JSON is an array of objects, or an object of columns")
    return _union(whole), list(enumerate(whole, start=1))


def _has_meaning(columns: Iterable[str]) -> bool:
    return any(plain(column) in names for column in columns for names in NAMES.values())


def _unpacked(path: str) -> bytes:
    with open_text(FileReading(path=path)) as stream:
        return stream.read()


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
        raise DataError(
            f"{path} is not UTF-8: byte {error.start}; save it as UTF-8 (of a spreadsheet: CSV UTF-8)"
        ) from error

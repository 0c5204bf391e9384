"""Records out of files that have no lines: Parquet, the Arrow files of a ``datasets`` folder, ArrayRecord."""

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from t5lite.core.errors import DataError, question
from t5lite.core.storage.addresses import local_path, storage_address
from t5lite.data.reading.input_files import Progress, open_input, unreadable
from t5lite.data.reading.record_texts import FileReading
from t5lite.data.reading.tf_example import parse_example

_BATCH = 1024


def read_records(reading: FileReading, kind: str, fields: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts of ``fields`` of each record; those with a null, or without one, are counted.

    Args:
      reading: of the file, local or at an address.
      kind: ``.parquet``, ``.arrow`` or ``.array_record``.
      fields: names of columns or fields.

    Raises:
      DataError: if the file cannot be read, most records lack a field, or one has something else than text.
    """
    records = _array_records(reading, fields) if kind == ".array_record" else _rows(reading, kind, fields)
    return reading.whole(records)


def _rows(reading: FileReading, kind: str, fields: Sequence[str]) -> Iterator[list[str] | None]:
    columns_of = _parquet_columns if kind == ".parquet" else _arrow_columns
    number = 0
    for columns in columns_of(reading, fields):
        for row in zip(*columns.values(), strict=True):
            number += 1
            yield reading.texts(dict(zip(columns, row, strict=True)), fields, f"{reading.path} row {number}")


def _values(column: Any) -> list[Any]:
    """Return the values of a column, texts as bytes: a file may have put anything there."""
    import pyarrow
    import pyarrow.types as types

    if types.is_string(column.type):
        column = column.view(pyarrow.binary())
    elif types.is_large_string(column.type):
        column = column.view(pyarrow.large_binary())
    column.validate(full=True)  # the reader of files believes the offsets that they give
    return column.to_pylist()


def _parquet_columns(reading: FileReading, fields: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    pyarrow = pyarrow_for(reading.path)
    with _reading(reading.path, pyarrow.ArrowException, None) as stream:
        size, file = stream.seek(0, os.SEEK_END), pyarrow.parquet.ParquetFile(stream)
        done, total = 0, file.metadata.num_rows
        if not total:  # an empty data frame is written without its columns
            return
        names = _columns_of_fields(file.schema_arrow, fields, reading)
        for batch in file.iter_batches(_BATCH, columns=names):
            yield {name: _values(batch.column(name)) for name in names}
            if reading.progress is not None:  # not by what was read: the end is first, columns are left out
                reading.progress(size * (done + len(batch)) // total - size * done // total)
            done += len(batch)


def _arrow_columns(reading: FileReading, fields: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    pyarrow = pyarrow_for(reading.path)
    with _reading(reading.path, pyarrow.ArrowException, reading.progress) as stream:
        reader = pyarrow.ipc.open_stream(stream)
        for batch in reader:
            if len(batch):
                names = _columns_of_fields(reader.schema, fields, reading)
                yield {name: _values(batch.column(name)) for name in names}


def _array_records(reading: FileReading, fields: Sequence[str]) -> Iterator[list[str] | None]:
    array_record_module = importlib.import_module("array_record.python.array_record_module")  # no type stubs
    path = reading.path
    with _local_copy(path) as local:
        try:
            size = local.stat().st_size
            with closing(array_record_module.ArrayRecordReader(str(local))) as reader:
                total = reader.num_records()
                for start in range(0, total, _BATCH):
                    stop = min(start + _BATCH, total)
                    for number, content in enumerate(reader.read(list(range(start, stop))), start + 1):
                        yield _record_fields(content, fields, f"{path} record {number}", reading)
                    if reading.progress is not None:
                        reading.progress(size * stop // total - size * start // total)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{path} is damaged or not an ArrayRecord ({error}); fetch it again") from error


def _record_fields(
    content: bytes, fields: Sequence[str], place: str, reading: FileReading
) -> list[str] | None:
    """Read a JSON object, a ``tf.train.Example``, or for a single field the text that the record is."""
    if content.lstrip()[:1] == b"{":
        return reading.json_texts(content, fields, place)
    example = parse_example(content)
    if example is not None:
        return reading.texts(example, fields, place)
    if len(fields) == 1:
        text = reading.decoded(content, place)
        return reading.row_texts(fields, [text], place, record={fields[0]: text})
    raise DataError(f"{place} is neither a JSON object nor a tf.train.Example, so it has no fields")


def _columns_of_fields(schema: Any, fields: Sequence[str], reading: FileReading) -> list[str]:
    """Return the columns that the fields are of, checked: a field may lie within a column."""
    import pyarrow.types as types

    names: list[str] = []
    for field in fields:
        name = field if field in schema.names else field.partition(".")[0]
        if name not in schema.names:
            if field in reading.optional:
                continue
            hint = question(field, schema.names)
            raise DataError(
                f"{reading.path} has no column {field!r}; it has {', '.join(map(repr, schema.names[:20]))}: "
                f"{hint and f'{hint} '}{reading.other_names}"
            )
        names.append(name)
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        texts = (types.is_string, types.is_large_string, types.is_string_view)
        contents = (*texts, types.is_binary, types.is_large_binary, types.is_null)
        if field in reading.label_fields:
            contents += (types.is_integer, types.is_boolean)
        if name == field and reading.takes_texts_alone and not any(is_kind(kind) for is_kind in contents):
            raise reading.no_text(f"{reading.path} column {field!r}", field, str(kind))
    if reading.needs_whole_records:
        names += [
            name
            for name in schema.names
            if schema.names.count(name) == 1 and _says_what_a_row_is(schema.field(name).type)
        ]
    return list(dict.fromkeys(names))


def _says_what_a_row_is(kind: Any) -> bool:
    """Whether values of a type are part of a row's text: no dates, and no pictures or sounds."""
    import pyarrow.types as types

    inner = [kind.field(place).type for place in range(kind.num_fields)]
    has_content = types.is_struct(kind) and any(
        types.is_binary(each) or types.is_large_binary(each) for each in inner
    )
    return not types.is_temporal(kind) and not has_content and all(map(_says_what_a_row_is, inner))


def pyarrow_for(path: str | os.PathLike[str]) -> Any:
    """Return pyarrow with its readers, for a file.

    Raises:
      DataError: if it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{path} needs pyarrow; pip install 't5lite[data]'") from error
    return pyarrow


@contextmanager
def _reading(path: str | Path, damage: type[Exception], progress: Progress | None) -> Iterator[Any]:
    try:
        with closing(open_input(path, progress)) as stream:
            yield stream
    except (damage, MemoryError) as error:  # the latter of sizes that a damaged file gives
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} is damaged or not really {Path(path).suffix} ({line}); fetch it again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def _local_copy(path: str | Path) -> Iterator[Path]:
    """ArrayRecord's reader takes local files alone, with names in UTF-8.

    Others are copied to the temporary directory, or linked to from there.
    """
    if storage_address(path) is None:
        local = local_path(path)
        if not any("\ud800" <= character <= "\udfff" for character in str(local)):
            yield local
            return
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "link.array_record")
            link.symlink_to(local.absolute())
            yield link
        return
    with tempfile.NamedTemporaryFile(suffix=".array_record") as copy:
        with closing(open_input(path)) as stream:
            shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name)

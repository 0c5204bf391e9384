"""Files of vectors: a matrix in .npy, or texts and vectors in .parquet."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from t5lite.cli.resumed_outputs import Part, ReadPart, other_part
from t5lite.core.errors import DataError
from t5lite.core.files import part_of
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.reading.record_files import pyarrow_for

_ROWS_AT_ONCE = 1024
"""Of a Parquet file's batch."""


class Position(NamedTuple):
    """Where in a file the vectors begin that are to be written."""

    num_texts: int
    """Of all."""
    num_there: int
    """Vectors that are in the file already."""


WriteVectors = Callable[[BinaryIO, Iterable[tuple[str, np.ndarray]], int, Position], Iterator[None]]
"""Writes texts with their vectors of a width; yields after each."""


class VectorFormat(NamedTuple):
    """How a file of vectors is written."""

    write: WriteVectors
    read_part: ReadPart | None
    """Finds what of a file is there that was cut off; None: it cannot be gone on with."""
    check: Callable[[StoragePath], object] = lambda path: None
    """Raises a DataError where what writes it is not installed."""


def vector_format(path: StoragePath) -> VectorFormat:
    """Return the format that a name ends in.

    Raises:
      DataError: for another ending, and if what writes it is not installed.
    """
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise DataError(
            f"--output-file {path}: vectors are written to {' or '.join(_FORMATS)}; give such a name"
        )
    found = _FORMATS[ending]
    found.check(path)
    return found


def _write_npy(
    stream: BinaryIO, vectors: Iterable[tuple[str, np.ndarray]], width: int, position: Position
) -> Iterator[None]:
    if not position.num_there:
        stream.write(_npy_header(position.num_texts, width))
    for _, vector_D in vectors:
        stream.write(vector_D.astype("<f4").tobytes())
        yield


def _npy_header(num_rows: int, width: int) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (num_rows, width)}
    )
    return header.getvalue()


def _npy_part(path: StoragePath, inputs: Sequence[str]) -> Part:
    """Return which vectors are there whole (``ReadPart``)."""
    with part_of(path).open("rb") as stream:
        try:
            np.lib.format.read_magic(stream)
            (num_rows, width), _, _ = np.lib.format.read_array_header_1_0(stream)
        except ValueError:
            return Part(0, 0)  # it was cut off in the header
        begin, end = stream.tell(), stream.seek(0, io.SEEK_END)
    if num_rows != len(inputs):
        raise other_part(path, f"and of {num_rows:,} texts, not {len(inputs):,}")
    row_bytes = 4 * width
    num_there = max(0, min((end - begin) // row_bytes, num_rows - 1))
    return Part(num_there, begin + num_there * row_bytes) if num_there else Part(0, 0)


def _write_parquet(
    stream: BinaryIO, vectors: Iterable[tuple[str, np.ndarray]], width: int, position: Position
) -> Iterator[None]:
    del position
    import pyarrow
    import pyarrow.parquet

    columns = {"text": pyarrow.string(), "embedding": pyarrow.list_(pyarrow.float32(), width)}
    schema = pyarrow.schema(columns.items())
    texts: list[str] = []
    rows: list[np.ndarray] = []

    def batch() -> Any:
        flat = pyarrow.array(np.concatenate(rows), pyarrow.float32())
        arrays = [pyarrow.array(texts), pyarrow.FixedSizeListArray.from_arrays(flat, width)]
        texts.clear()
        rows.clear()
        return pyarrow.record_batch(arrays, schema=schema)

    with pyarrow.parquet.ParquetWriter(stream, schema) as writer:
        for text, vector_D in vectors:
            texts.append(text)
            rows.append(vector_D)
            if len(rows) == _ROWS_AT_ONCE:
                writer.write_batch(batch())
            yield
        if rows:
            writer.write_batch(batch())


_FORMATS: Mapping[str, VectorFormat] = {
    ".npy": VectorFormat(_write_npy, _npy_part),
    ".parquet": VectorFormat(_write_parquet, None, pyarrow_for),
}

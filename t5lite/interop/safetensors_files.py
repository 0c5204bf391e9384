"""Safetensors files, read and written one tensor at a time, or one layer of a tensor.

The format (8 bytes of header length, a JSON header, the arrays) is simple enough to be handled here, and
the library does not do what a large model needs: it writes only what is whole in memory, and it reads
through a mapping of the file, whose pages count as the process's memory. What is written here is tested to
be read by it, and the other way round.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import CheckpointError, UserError
from t5lite.core.files import write_json
from t5lite.core.json_text import parse_json
from t5lite.core.lfs import check_not_lfs_pointer
from t5lite.interop.arrival import empty, fill
from t5lite.interop.trees import Shape

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 8
_MAX_HEADER_BYTES = 100_000_000  # the library's own limit


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies.

    Attributes:
      file: the safetensors file.
      dtype: its dtype, None for one that NumPy has not (a quantized checkpoint's).
      dtype_name: NumPy's name of it, else the file's.
      shape: its shape.
      start: its first byte, from the beginning of the file.
      end: the byte behind its last one.
    """

    file: Path
    dtype: np.dtype[Any] | None
    dtype_name: str
    shape: Shape
    start: int
    end: int


def read_header(file: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file by name, without reading them.

    Raises:
      CheckpointError: if the file is missing, or its header does not describe exactly its content.
    """
    check_not_lfs_pointer(file)
    try:
        with open_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = parse_json(stream.read(length), object_pairs_hook=unique_keys)
        header.pop("__metadata__", None)
        entries = {name: _entry(file, value, 8 + length) for name, value in header.items()}
        _check_coverage(entries, 8 + length, size)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; fetch the folder again") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}); check it and its folder") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged or truncated ({error}); fetch the folder again") from error
    return entries


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's dict, as ``object_pairs_hook``; Python alone would keep the last of two values.

    Raises:
      ValueError: if a key is there twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return values


def _entry(file: Path, value: Mapping[str, Any], data: int) -> Entry:
    start, end = value["data_offsets"]
    shape = tuple(value["shape"])
    if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
        raise ValueError(f"shape {shape} at data_offsets [{start}, {end}]")
    dtype = _DTYPES.get(value["dtype"])
    if dtype is not None and end - start != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{end - start} bytes for shape {shape} of {dtype.name}")
    name = str(value["dtype"]) if dtype is None else dtype.name
    return Entry(file, dtype, name, shape, data + start, data + end)


def _check_coverage(entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Check that the tensors lie one behind the other from ``start`` to the file's end.

    Raises:
      ValueError: if two overlap, or bytes belong to none.
    """
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != start or entry.end < start:
            raise ValueError(f"a tensor begins at byte {entry.start} and not at {start}")
        start = entry.end
    if start != size:
        raise ValueError(f"{size} bytes instead of {start}")


def read_entry(entry: Entry, rows: slice = slice(None)) -> np.ndarray:
    """Return a tensor, or ``rows`` of its first axis, in memory of its own.

    Raises:
      CheckpointError: if the file has become shorter since its header was read.
    """
    assert entry.dtype is not None, entry
    shape, offset = entry.shape, entry.start
    if shape and rows != slice(None):
        first, last, _ = rows.indices(shape[0])
        offset += first * entry.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        shape = (last - first, *shape[1:])
    tensor = empty(shape, entry.dtype)
    with entry.file.open("rb", buffering=0) as stream:
        stream.seek(offset)
        if not fill(tensor.reshape(-1).view(np.uint8).data, stream):
            raise CheckpointError(f"{entry.file} is truncated; fetch the folder again")
    return tensor


@dataclass(frozen=True)
class Output:
    """One file to write: its name, and the (name, shape) of its tensors in order."""

    file: str
    tensors: tuple[tuple[str, Shape], ...]


def plan_files(
    tensors: Sequence[tuple[str, Shape]], dtype: np.dtype[Any], *, max_shard_bytes: int
) -> list[Output]:
    """Return the files for ``tensors``, in order, none above ``max_shard_bytes`` unless one tensor is."""
    groups: list[list[tuple[str, Shape]]] = [[]]
    filled = 0
    for name, shape in tensors:
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        if groups[-1] and filled + size > max_shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append((name, shape))
        filled += size
    if len(groups) == 1:
        return [Output(WEIGHTS, tuple(groups[0]))]
    count = len(groups)
    return [
        Output(f"model-{i + 1:05d}-of-{count:05d}.safetensors", tuple(group))
        for i, group in enumerate(groups)
    ]


def write_file(
    folder: Path, output: Output, dtype: np.dtype[Any], arrays: Iterator[tuple[str, np.ndarray]]
) -> None:
    """Write one file, taking its arrays from ``arrays`` as they are needed.

    Args:
      folder: where it goes.
      output: which file, and which tensors in which order.
      dtype: of all of them.
      arrays: (name, array) in that order: a whole tensor, or its parts along the first axis.

    Raises:
      UserError: if the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in output.tensors:
        end = position + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path = folder / output.file
    try:
        with path.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for expected, shape in output.tensors:
                left = int(np.prod(shape, dtype=np.int64))
                while True:
                    name, array = next(arrays)
                    assert (name, array.dtype) == (expected, dtype), name
                    stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
                    left -= array.size
                    del array  # before the next one is made
                    if left <= 0:
                        break
                assert not left, expected
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}); check free space and permissions"
        ) from error


def write_index(folder: Path, outputs: Sequence[Output], *, num_bytes: int) -> None:
    """Write the index of several files."""
    weight_map = {name: output.file for output in outputs for name, _ in output.tensors}
    write_json(folder / INDEX, {"metadata": {"total_size": num_bytes}, "weight_map": weight_map})

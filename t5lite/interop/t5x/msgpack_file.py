"""The msgpack of ``flax.serialization``, of which an array is read only when it is asked for.

``flax.serialization.msgpack_restore`` would hold the whole file, optimizer state included, in memory twice.
"""

import math
import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import ml_dtypes
import numpy as np

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import CheckpointError
from t5lite.interop.arrival import fill

_NDARRAY, _SCALAR = 1, 3
"""Flax's extension types for arrays and NumPy scalars (2, complex numbers, is in no T5X checkpoint)."""
_CHUNKED = "__msgpack_chunked_array__"
_MAX_DEPTH = 64
_MAX_STRUCTURE_BYTES, _VALUE_BYTES = 64 << 20, 64
"""Of all that is no array, and what a value takes of it beside its text: room for a million values, where the
largest T5 has fifty thousand."""
_DTYPE = re.compile(r"(bfloat|float|u?int|complex)\d+|bool")

_NUMBERS = {
    0xCA: ">f", 0xCB: ">d",
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SIZED = {
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"),
    0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


class FileArray:
    """An array in a file: its elements in order, in one or several segments of (first byte, elements)."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], segments: list[tuple[int, int]]
    ):
        self.path, self.shape, self.dtype, self.segments = path, shape, dtype, segments

    def flat(self, start: int, stop: int) -> np.ndarray:
        """Return the elements ``start`` to ``stop`` of the flattened array, in memory of its own.

        Raises:
          CheckpointError: if the file has become shorter since it was opened.
        """
        out = np.empty(stop - start, self.dtype)
        view, done, first = memoryview(cast(Any, out.view(np.uint8))), 0, 0
        with self.path.open("rb", buffering=0) as file:
            for offset, count in self.segments:
                begin, end = max(0, start - first), min(count, stop - first)
                first += count
                if begin >= end:
                    continue
                file.seek(offset + begin * self.dtype.itemsize)
                part_end = done + (end - begin) * self.dtype.itemsize
                if not fill(view[done:part_end], cast(BinaryIO, file)):
                    raise CheckpointError(f"{self.path} has become shorter; copy the checkpoint again")
                done = part_end
        return out


def read_msgpack(path: Path) -> Any:
    """Return what ``flax.serialization.msgpack_serialize`` wrote: nested dicts and lists of plain values.

    Every array is a ``FileArray``, one that Flax cut into chunks as well (msgpack cannot hold 4 GiB in one
    value).

    Raises:
      CheckpointError: if the file cannot be read, is cut short, or is not such a msgpack.
    """
    try:
        if not path.stat().st_size:
            raise _Damaged("it is empty")
        # The map serves to find things; weights are not read through it, since its pages would count as
        # memory of this process.
        with (
            open_regular(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):
            reader = _Reader(data, path)
            value = reader.value()
            if reader.position != len(data):
                raise _Damaged(f"{len(data) - reader.position} bytes follow the end of the data")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except (_Damaged, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no Flax msgpack ({error}); copy the checkpoint again"
        ) from error
    return value


class _Damaged(Exception):
    """The bytes are no msgpack; the message says why."""


class _Reader:
    """A cursor over the bytes of one msgpack value."""

    def __init__(self, data: memoryview, path: Path):
        self.data, self.path, self.position, self.depth = data, path, 0, 0
        self.structure_bytes = 0

    def value(self) -> Any:
        self._take_memory(_VALUE_BYTES)
        tag = self._number(">B")
        if tag <= 0x7F:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag <= 0x8F:
            return self._map(tag & 0x0F)
        if tag <= 0x9F:
            return self._list(tag & 0x0F)
        if tag <= 0xBF:
            return self._text(tag & 0x1F)
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            return self._number(_NUMBERS[tag])
        if tag in _FIXED_EXTENSIONS:
            return self._extension(_FIXED_EXTENSIONS[tag])
        if tag not in _SIZED:
            raise _Damaged(f"byte {self.position - 1} is {tag:#x}, which starts no value")
        kind, form = _SIZED[tag]
        read: Callable[[int], Any] = {
            "bytes": self._skip,
            "text": self._text,
            "list": self._list,
            "map": self._map,
            "extension": self._extension,
        }[kind]
        return read(self._number(form))

    def _skip(self, length: int) -> slice:
        start, self.position = self.position, self.position + length
        if self.position > len(self.data):
            raise _Damaged(f"it ends at byte {len(self.data)}, in the middle of a value")
        return slice(start, self.position)

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self.data[self._skip(struct.calcsize(form))])[0]

    def _take_memory(self, num_bytes: int) -> None:
        self.structure_bytes += num_bytes
        if self.structure_bytes > _MAX_STRUCTURE_BYTES:
            raise _Damaged("it has more names and values than a train state")

    def _text(self, length: int) -> str:
        self._take_memory(length)
        return str(self.data[self._skip(length)], "utf-8")

    def _list(self, length: int) -> list[Any]:
        self._deeper()
        items = [self.value() for _ in range(length)]
        self.depth -= 1
        return items

    def _map(self, length: int) -> Any:
        self._deeper()
        items = {self.value(): self.value() for _ in range(length)}
        self.depth -= 1
        return self._joined(items) if items.get(_CHUNKED) else items

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:  # a damaged file must not exhaust the stack
            raise _Damaged(f"it nests deeper than {_MAX_DEPTH} levels")

    def _joined(self, items: dict[str, Any]) -> FileArray:
        """Return the one array that Flax cut into ``chunks``."""
        shape = tuple(items["shape"][str(axis)] for axis in range(len(items["shape"])))
        chunks = [items["chunks"][str(number)] for number in range(len(items["chunks"]))]
        segments = [segment for chunk in chunks for segment in chunk.segments]
        if sum(count for _, count in segments) != math.prod(shape):
            raise _Damaged(f"the chunks of an array of shape {shape} do not have its size")
        return FileArray(self.path, shape, chunks[0].dtype, segments)

    def _extension(self, length: int) -> Any:
        kind = self._number(">b")
        end = self.position + length
        if kind not in (_NDARRAY, _SCALAR):
            raise _Damaged(f"it has a value of the unknown extension type {kind}")
        shape, dtype_name, content = self.value()
        if not _DTYPE.fullmatch(dtype_name):
            raise _Damaged(f"an array of the unknown type {dtype_name!r}")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise _Damaged(f"an array of shape {shape}")
        dtype = np.dtype(ml_dtypes.bfloat16 if dtype_name == "bfloat16" else dtype_name)
        size = math.prod(shape)
        if self.position != end or content.stop - content.start != size * dtype.itemsize:
            raise _Damaged(f"an array of shape {tuple(shape)} does not have its size")
        return FileArray(self.path, tuple(shape), dtype, [(content.start, size)])

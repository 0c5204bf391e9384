"""The arrays of a checkpoint that lie in TensorStore: a zarr directory each, or all in one OCDBT database."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from t5lite.core.bounded_reads import UnfitFileError
from t5lite.core.errors import CheckpointError
from t5lite.core.tensorstore_files import check_description, check_tensorstore_files
from t5lite.interop.arrival import Index, host_memory_bytes
from t5lite.interop.t5x.leaves import Leaf, as_weights, check_dtype

OCDBT = "manifest.ocdbt"
"""The file by which an OCDBT database is known."""
_SMALL_CHUNK_BYTES = 64 << 20
"""What a chunk of a small array may have: some writers give all arrays the same chunks."""
_DRIVERS = {".zarray": "zarr", "zarr.json": "zarr3"}
"""TensorStore's driver by the file that describes an array."""


class Stores:
    """What TensorStore arrays there are under ``directory``, by the name they are stored under.

    Raises:
      CheckpointError: if there is a database that cannot be read.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        _check_files(directory)
        self.in_database = (directory / OCDBT).is_file()
        self.layout = "OCDBT" if self.in_database else "one directory a leaf"
        self._drivers: dict[str, str] = {}
        for key in self._keys_of_database() if self.in_database else self._files():
            stored, _, file = key.rpartition("/")
            if file in _DRIVERS:
                self._drivers[stored] = _DRIVERS[file]

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (name of the leaf, name it is stored under)."""
        for stored in sorted(self._drivers):
            yield stored.replace(".", "/"), stored

    def opener(self, name: str, stored: str, shape: Sequence[int] | None = None) -> Callable[[], Leaf]:
        """Return what opens an array.

        Args:
          name: of the leaf, for messages.
          stored: the name it is stored under.
          shape: the one it has to have.

        Raises:
          CheckpointError: if ``stored`` is a place outside the directory; when called, if there is no such
            array, or one that cannot be read, or of another shape.
        """
        place = self.directory / stored
        if not place.resolve().is_relative_to(self.directory.resolve()):
            raise CheckpointError(f"leaf {name} points outside {self.directory}, to {stored!r}")
        kvstore = {"driver": "file", "path": f"{place.resolve()}/"}
        if self.in_database:
            kvstore = {**self._database(), "path": f"{stored}/"}

        def opened() -> Leaf:
            leaf = StoredLeaf(name, self._drivers.get(stored, "zarr"), kvstore, place)
            if shape is not None and leaf.shape != tuple(shape):
                raise CheckpointError(
                    f"leaf {name} has shape {leaf.shape} in {place}, but {tuple(shape)} in the checkpoint's "
                    "index; copy the checkpoint again"
                )
            return leaf

        return opened

    def _database(self) -> dict[str, Any]:
        return {"driver": "ocdbt", "base": {"driver": "file", "path": f"{self.directory.resolve()}/"}}

    def _keys_of_database(self) -> list[str]:
        try:
            keys = tensorstore.KvStore.open(self._database()).result().list().result()
        except (ValueError, OSError) as error:
            raise CheckpointError(
                f"{self.directory / OCDBT} is damaged ({reason(error)}); copy the checkpoint again"
            ) from error
        return [key.decode() for key in keys]

    def _files(self) -> list[str]:
        return [f"{f.parent.name}/{name}" for name in _DRIVERS for f in self.directory.glob(f"*/{name}")]


class StoredLeaf:
    """An array in a TensorStore: zarr in a directory of its own, or in Orbax's one OCDBT database.

    Args:
      name: of the leaf, for messages.
      driver: "zarr" or "zarr3".
      kvstore: TensorStore's JSON for the place of the array.
      where: that place in words, for messages.

    Raises:
      CheckpointError: if there is no readable array of floats.
    """

    def __init__(self, name: str, driver: str, kvstore: dict[str, Any], where: Path):
        self.name, self.where = name, where
        # Without fill_missing_data_reads=False a chunk that got lost would be read as zeros.
        spec = {"driver": driver, "kvstore": kvstore, "fill_missing_data_reads": False}
        description = next(file for file, each in _DRIVERS.items() if each == driver)
        try:
            check_description(tensorstore.KvStore.open(kvstore).result().read(description).result().value)
            self.store = tensorstore.open(spec, open=True, read=True).result()
        except (ValueError, OSError) as error:
            raise self._unreadable(error) from error
        self.shape = tuple(self.store.shape)
        check_dtype(name, self.store.dtype.numpy_dtype)
        self.block = tuple(
            c or s
            for c, s in zip(self.store.chunk_layout.read_chunk.shape or self.shape, self.shape, strict=True)
        )
        self._check_chunk(self.store.dtype.numpy_dtype.itemsize)
        if where.is_dir():
            _check_files(where, array_bytes=self.store.dtype.numpy_dtype.itemsize * math.prod(self.block))

    def _check_chunk(self, itemsize: int) -> None:
        """Refuse chunks that are none: TensorStore ends the process where one does not fit the memory."""
        chunk, whole = (itemsize * math.prod(sizes) for sizes in (self.block, self.shape))
        largest = min(max(whole, _SMALL_CHUNK_BYTES), host_memory_bytes())
        if chunk > largest:
            raise CheckpointError(
                f"leaf {self.name} has chunks of {chunk:,} bytes in {self.where}, more than the {largest:,} "
                "that an array of its size has or this machine holds; copy the checkpoint again"
            )

    def read(self, index: Index) -> np.ndarray:
        """Return a box, or raise CheckpointError if a chunk of it is missing or damaged."""
        try:
            return as_weights(self.store[index].read().result())
        except (ValueError, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"leaf {self.name} is missing or damaged in {self.where} ({reason(error)}); copy the checkpoint "
            "again"
        )


def _check_files(folder: Path, *, array_bytes: int | None = None) -> None:
    try:
        check_tensorstore_files(folder, array_bytes=array_bytes)
    except UnfitFileError as error:
        raise CheckpointError(f"{error.filename}: {error.strerror}; copy the checkpoint again") from error


def reason(error: Exception) -> str:
    """Return TensorStore's message without the specification that it appends."""
    return str(error).split(" [")[0].splitlines()[0]

"""One long array on disk: shards of fixed-size pages, each page with its own CRC-32.

A column ``tokens`` is ``tokens-00000.bin``, ``tokens-00001.bin``, … (raw little-endian items, every shard but
the last of equal length) and ``tokens.crc32`` (one little-endian uint32 a page). Everything needed to open
it stands in the store's index, so opening costs one ``stat`` a shard and reads nothing.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import DataError

_CRC_DTYPE = np.dtype("<u4")


class PagedColumnWriter:
    """Appends items to a column; ``close`` returns what the index must hold about it."""

    def __init__(self, directory: Path, name: str, *, dtype: str, page_items: int, pages_per_shard: int):
        self._directory, self._name, self._dtype = directory, name, np.dtype(dtype)
        self._page_items, self._shard_items = page_items, page_items * pages_per_shard
        self._pending = np.empty(page_items, self._dtype)
        self._num_pending = 0
        self._crcs: list[int] = []
        self._shard_sizes: list[int] = []
        self.num_items = 0

    def append(self, items: np.ndarray) -> None:
        """Append a 1-D array; the caller guarantees that the values fit the column's type."""
        position = 0
        while position < len(items):
            taken = min(self._page_items - self._num_pending, len(items) - position)
            self._pending[self._num_pending : self._num_pending + taken] = items[position : position + taken]
            self._num_pending += taken
            position += taken
            if self._num_pending == self._page_items:
                self._write_page()

    def _write_page(self) -> None:
        content = self._pending[: self._num_pending].tobytes()
        number = self.num_items // self._shard_items
        with open(self._directory / shard_name(self._name, number), "ab") as shard:
            shard.write(content)
        if number == len(self._shard_sizes):
            self._shard_sizes.append(0)
        self._shard_sizes[number] += len(content)
        self._crcs.append(zlib.crc32(content))
        self.num_items += self._num_pending
        self._num_pending = 0

    def close(self) -> dict[str, Any]:
        """Write what is pending and the checksums; return the column's entry for the index."""
        if self._num_pending:
            self._write_page()
        crcs = np.asarray(self._crcs, _CRC_DTYPE).tobytes()
        (self._directory / f"{self._name}.crc32").write_bytes(crcs)
        return {
            "dtype": self._dtype.str,
            "num_items": self.num_items,
            "page_items": self._page_items,
            "shard_items": self._shard_items,
            "shard_bytes": self._shard_sizes,
            "crc32_bytes": len(crcs),
        }


def shard_name(column: str, number: int) -> str:
    """Return the file name of a column's shard."""
    return f"{column}-{number:05d}.bin"


class PagedColumn:
    """Random access to a column through memory maps; a page is checked when it is first read.

    Raises:
      DataError: at opening, if a file is missing or has another size than the index says; at reading, if a
        page does not match its checksum.
    """

    def __init__(self, directory: Path, name: str, entry: dict[str, Any], *, remedy: str):
        self._directory, self._name, self._remedy = directory, name, remedy
        self._dtype = np.dtype(entry["dtype"])
        self.num_items: int = entry["num_items"]
        self._page_items: int = entry["page_items"]
        self._shard_items: int = entry["shard_items"]
        self._shards: list[np.ndarray | None] = [None] * len(entry["shard_bytes"])
        for number, size in enumerate(entry["shard_bytes"]):
            self._check_size(shard_name(name, number), size)
        self._check_size(f"{name}.crc32", entry["crc32_bytes"])
        num_pages = -(-self.num_items // self._page_items)
        consistent = (
            entry["crc32_bytes"] == num_pages * _CRC_DTYPE.itemsize
            and sum(entry["shard_bytes"]) == self.num_items * self._dtype.itemsize
            and all(size == self._shard_items * self._dtype.itemsize for size in entry["shard_bytes"][:-1])
        )
        if not consistent:
            raise DataError(f"{directory / 'index.json'} contradicts itself about '{name}'; {remedy}")
        self._crcs: np.ndarray | None = None
        self._checked = np.zeros(num_pages, bool)

    def _check_size(self, file_name: str, expected: int) -> None:
        path = self._directory / file_name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(
                f"{path} is missing or cannot be read ({error.strerror}); {self._remedy}"
            ) from error
        if size != expected:
            raise DataError(
                f"{path} has {size} bytes, the index says {expected}: it was truncated or overwritten; "
                f"{self._remedy}"
            )

    def __len__(self) -> int:
        return self.num_items

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return items ``[start, stop)``: a read-only view within a shard, a copy across shards."""
        if not 0 <= start <= stop <= self.num_items:
            raise IndexError(f"[{start}, {stop}) is outside of {self.num_items} items of '{self._name}'")
        if start == stop:
            return np.empty(0, self._dtype)
        self._check_pages(start // self._page_items, (stop - 1) // self._page_items)
        first, last = start // self._shard_items, (stop - 1) // self._shard_items
        if first == last:
            offset = first * self._shard_items
            return self._shard(first)[start - offset : stop - offset]
        parts = []
        for number in range(first, last + 1):
            offset = number * self._shard_items
            parts.append(self._shard(number)[max(start - offset, 0) : stop - offset])
        return np.concatenate(parts)

    def _shard(self, number: int) -> np.ndarray:
        shard = self._shards[number]
        if shard is None:
            path = self._directory / shard_name(self._name, number)
            # A plain ndarray over the map: np.memmap's own slicing costs several times as much.
            shard = np.asarray(np.memmap(path, self._dtype, mode="r"))
            self._shards[number] = shard
        return shard

    def _check_pages(self, first: int, last: int) -> None:
        if self._checked[first : last + 1].all():
            return
        if self._crcs is None:
            self._crcs = np.asarray(np.memmap(self._directory / f"{self._name}.crc32", _CRC_DTYPE, mode="r"))
        pages_per_shard = self._shard_items // self._page_items
        for page in range(first, last + 1):
            if self._checked[page]:
                continue
            number, page_in_shard = divmod(page, pages_per_shard)
            offset = page_in_shard * self._page_items
            content = self._shard(number)[offset : offset + self._page_items]
            if zlib.crc32(content.data) != int(self._crcs[page]):
                raise DataError(
                    f"page {page_in_shard} of {self._directory / shard_name(self._name, number)} does not "
                    f"match its CRC-32: the file was damaged after it was written; {self._remedy}"
                )
            self._checked[page] = True

"""One long array in files: shards of fixed-size pages, each page with its own CRC-32.

A column ``tokens`` is ``tokens-00000.bin``, ``tokens-00001.bin``, … (raw little-endian items, every shard but
the last of equal length) and ``tokens.crc32`` (one little-endian uint32 a page). Everything needed to open
it stands in the store's index, so opening costs one ``stat`` a shard and reads nothing.
"""

import mmap
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.stores.store_directory import StoreDirectory, open_directory

CRC_DTYPE = np.dtype("<u4")
_DTYPES = ("<u2", "<u4", "<i8")
_MOST = 1 << 60
"""More items or bytes than there are anywhere, which NumPy can still count."""
_READ_AHEAD_PAGES = 8
_NOTHING = np.empty(0, np.uint8)


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
        crcs = np.asarray(self._crcs, CRC_DTYPE).tobytes()
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


def _check_entry(entry: dict[str, Any]) -> None:
    sizes = [entry["page_items"], entry["shard_items"], *entry["shard_bytes"]]
    counts = [entry["num_items"], entry["crc32_bytes"]]
    if not all(type(size) is int and 0 < size <= _MOST for size in sizes):
        raise TypeError(f"sizes that are none: {entry}")
    if not all(type(count) is int and 0 <= count <= _MOST for count in counts):
        raise TypeError(f"counts that are none: {entry}")
    if entry["dtype"] not in _DTYPES:
        raise TypeError(f"items of type {entry['dtype']!r}; allowed: {', '.join(_DTYPES)}")


class DamagedPageError(DataError):
    """A page is not what was written: bits flipped, or its file was truncated or is gone."""


class PagedColumn:
    """Random access to a column through memory maps; a page is checked when it is first read.

    Args:
      directory: of the store.
      name: of the column.
      entry: what the store's index says about it.
      remedy: what messages recommend.
      tolerate_damage: whether shards that are missing or of another size only damage their pages; else the
        column cannot be opened.

    Raises:
      TypeError: at opening, if ``entry`` is not what a writer says.
      DataError: at opening, if a file is missing or has another size than the index says.
      DamagedPageError: at reading, if a page does not match its checksum.
    """

    def __init__(
        self,
        directory: "Path | StoreDirectory",
        name: str,
        entry: dict[str, Any],
        *,
        remedy: str,
        tolerate_damage: bool = False,
    ):
        self._directory, self._name, self._remedy = open_directory(directory), name, remedy
        _check_entry(entry)
        self._dtype = np.dtype(entry["dtype"])
        self.num_items: int = entry["num_items"]
        self._page_items: int = entry["page_items"]
        self._shard_items: int = entry["shard_items"]
        self._num_shards = len(entry["shard_bytes"])
        self.num_pages = -(-self.num_items // self._page_items)
        if not tolerate_damage:
            for number, size in enumerate(entry["shard_bytes"]):
                self._check_size(shard_name(name, number), size)
        self._check_size(self._crc_name, entry["crc32_bytes"])
        consistent = (
            entry["crc32_bytes"] == self.num_pages * CRC_DTYPE.itemsize
            and sum(entry["shard_bytes"]) == self.num_items * self._dtype.itemsize
            and self._num_shards == -(-self.num_items // self._shard_items)
            and self._shard_items % self._page_items == 0
            and all(size == self._shard_items * self._dtype.itemsize for size in entry["shard_bytes"][:-1])
        )
        if not consistent:
            raise DataError(
                f"{self._directory.name_of('index.json')} contradicts itself about '{name}'; {remedy}"
            )
        self._prepare_reading()

    def _prepare_reading(self) -> None:
        self._shards: list[np.ndarray | None] = [None] * self._num_shards
        self._crcs: np.ndarray | None = None
        self._checked = np.zeros(self.num_pages, bool)

    @property
    def _crc_name(self) -> str:
        return f"{self._name}.crc32"

    @property
    def _pages_per_shard(self) -> int:
        return self._shard_items // self._page_items

    def _check_size(self, file_name: str, expected: int) -> None:
        path = self._directory.name_of(file_name)
        try:
            size = self._directory.size(file_name)
        except OSError as error:
            raise DataError(
                f"{path} is missing or cannot be read ({error.strerror or error}); {self._remedy}"
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
        self._check_bounds(start, stop)
        if start == stop:
            return np.empty(0, self._dtype)
        first, last = start // self._shard_items, (stop - 1) // self._shard_items
        self._forget_cut_shards(range(first, last + 1))
        self._check_pages(start // self._page_items, (stop - 1) // self._page_items)
        if first == last:
            offset = first * self._shard_items
            return self._shard(first)[start - offset : stop - offset]
        parts = []
        for number in range(first, last + 1):
            offset = number * self._shard_items
            parts.append(self._shard(number)[max(start - offset, 0) : stop - offset])
        return np.concatenate(parts)

    def read_many(self, starts: np.ndarray, stops: np.ndarray) -> list[np.ndarray]:
        """Return items ``[starts[i], stops[i])`` for every ``i``; where reading takes time, all at once."""
        return [self.read(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return [starts, length], as ``read_many`` of equal lengths, a copy."""
        rows = np.empty((len(starts), length), self._dtype)
        numbers = starts // self._shard_items
        whole = numbers == (starts + length - 1) // self._shard_items
        pages, last_pages = starts // self._page_items, (starts + length - 1) // self._page_items
        if len(starts):
            self._check_bounds(int(starts.min()), int(starts.max()) + length)
        self._forget_cut_shards(np.unique(numbers).tolist())
        if length > self._page_items or not (self._checked[pages].all() and self._checked[last_pages].all()):
            for first, last in zip(pages.tolist(), last_pages.tolist(), strict=True):
                self._check_pages(first, last)
        for number in np.unique(numbers[whole]).tolist():
            chosen = whole & (numbers == number)
            shard = self._shard(number)
            # Every stretch of the shard as a row of a view, of which NumPy copies those that are asked for.
            stretches = np.lib.stride_tricks.as_strided(
                shard, (len(shard) - length + 1, length), (shard.itemsize, shard.itemsize), writeable=False
            )
            rows[chosen] = stretches[starts[chosen] - number * self._shard_items]
        for place in np.flatnonzero(~whole).tolist():
            rows[place] = self.read(int(starts[place]), int(starts[place]) + length)
        return rows

    def _check_bounds(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.num_items:
            raise IndexError(f"[{start}, {stop}) is outside of {self.num_items} items of '{self._name}'")

    def _shard(self, number: int) -> np.ndarray:
        shard = self._shards[number]
        if shard is None:
            path = self._directory.name_of(shard_name(self._name, number))
            items = min(
                os.stat(path).st_size // self._dtype.itemsize if os.path.exists(path) else 0,
                self._shard_items,
            )
            shard = _mapped(path, self._dtype, items) if items else _NOTHING
            self._shards[number] = shard
        return shard

    def _forget_cut_shards(self, numbers: Iterable[int]) -> None:
        """Map shards anew whose files became shorter: to touch what is gone ends the process (SIGBUS)."""
        for number in numbers:
            shard = self._shards[number]
            if shard is not None and _is_cut(shard):
                self._shards[number] = None
                first = number * self._pages_per_shard
                self._checked[first : first + self._pages_per_shard] = False

    def _check_pages(self, first: int, last: int) -> None:
        if self._checked[first : last + 1].all():
            return
        if self._crcs is None or _is_cut(self._crcs):
            self._check_size(self._crc_name, self.num_pages * CRC_DTYPE.itemsize)
            self._crcs = _mapped(self._directory.name_of(self._crc_name), CRC_DTYPE, self.num_pages)
        if last - first >= _READ_AHEAD_PAGES:
            self._read_ahead(first, last)
        for page in range(first, last + 1):
            if not self._checked[page]:
                number, page_in_shard = divmod(page, self._pages_per_shard)
                offset = page_in_shard * self._page_items
                content = self._shard(number)[offset : offset + self._page_items]
                self._check_page(page, content, int(self._crcs[page]))
                self._checked[page] = True

    def _read_ahead(self, first: int, last: int) -> None:
        """Have the kernel read a long stretch of pages, which it does not do ahead by itself."""
        for number in range(first // self._pages_per_shard, last // self._pages_per_shard + 1):
            mapped = _map_of(self._shard(number))
            if mapped is not None and hasattr(mapped, "madvise"):
                page_bytes, shard_start = (
                    self._page_items * self._dtype.itemsize,
                    number * self._pages_per_shard,
                )
                start = max(first - shard_start, 0) * page_bytes // mmap.PAGESIZE * mmap.PAGESIZE
                stop = min((last + 1 - shard_start) * page_bytes, len(mapped))
                if start < stop:
                    mapped.madvise(mmap.MADV_WILLNEED, start, stop - start)

    def _check_page(self, page: int, content: np.ndarray, crc: int) -> None:
        """Raise a DamagedPageError if ``content`` is not what was written as ``page``."""
        items = min(self._page_items, self.num_items - page * self._page_items)
        if len(content) == items and zlib.crc32(content.data) == crc:
            return
        number, page_in_shard = divmod(page, self._pages_per_shard)
        shard = self._directory.name_of(shard_name(self._name, number))
        how = "the file was damaged after it was written"
        if len(content) < items:
            how = f"the file has only {len(content)} of its {items} items"
        raise DamagedPageError(
            f"page {page_in_shard} of {shard} does not match its CRC-32: {how}; {self._remedy}"
        )


def _map_of(items: np.ndarray) -> mmap.mmap | None:
    """Return the map that ``_mapped`` made."""
    mapped = getattr(items.base, "obj", None)
    return mapped if isinstance(mapped, mmap.mmap) else None


def _is_cut(items: np.ndarray) -> bool:
    """Return whether the file that was mapped is shorter than its map."""
    mapped = _map_of(items)
    return mapped is not None and mapped.size() < len(mapped)


def _mapped(path: str, dtype: np.dtype, items: int) -> np.ndarray:
    """Return the first items of a file as a map, of which only what is touched is read: nothing ahead."""
    with open(path, "rb") as stream:
        content = mmap.mmap(stream.fileno(), items * dtype.itemsize, access=mmap.ACCESS_READ)
    if hasattr(content, "madvise"):
        content.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(content, dtype)

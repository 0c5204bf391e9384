"""The virtual concatenation of a store's documents, with a separator after each where one is wanted."""

from bisect import bisect_left

import numpy as np

from t5lite.data.token_store import PAGE_ITEMS, TokenStore

_MAX_BLOCKS = 1 << 16
"""Ends that are kept, at most: half a MiB of them."""


class DocumentStream:
    """Random access to the documents of a store in a row.

    The store holds them without separators. Separator ``d`` stands at place ``end(d) + d`` of the stream, so
    what a chunk holds follows from the document ends around it. They are read by the block of a page; the
    last end of a block is kept when a search first asks for it, so a chunk soon costs a single read of ends.

    Args:
      store: of the documents.
      separator: id after each document; None puts nothing.

    Attributes:
      num_tokens: of the stream, separators included.
    """

    def __init__(self, store: TokenStore, separator: int | None):
        self._store, self._separator = store, separator
        self.num_tokens = store.num_tokens + (0 if separator is None else store.num_documents)
        num_pages = -(-store.num_documents // PAGE_ITEMS)
        self._block = PAGE_ITEMS * max(1, -(-num_pages // _MAX_BLOCKS))
        num_blocks = -(-store.num_documents // self._block)
        self._last_places = np.full(num_blocks, -1, np.int64)

    def chunks(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return int32 [len(starts), length], the chunks of ``length`` tokens that begin at ``starts``."""
        if self._separator is None:
            return self._store.chunks(starts, length)
        return np.stack([self._chunk(start, length) for start in starts.tolist()])

    def _chunk(self, start: int, length: int) -> np.ndarray:
        store = self._store
        block = bisect_left(range(len(self._last_places)), start, key=self._last_place)
        first = block * self._block
        # A document has at least one token, so every other place at most is a separator.
        stop = min(first + self._block + length // 2 + 1, store.num_documents)
        places = store.document_ends(first, stop) + np.arange(first, stop) - start
        # Separators before the chunk, hence also the number of the first document that ends in it or later.
        skipped = int(np.searchsorted(places, 0))
        before, places = first + skipped, places[skipped:]
        is_separator = np.zeros(length, bool)
        is_separator[places[places < length]] = True
        row = np.full(length, self._separator, np.int32)
        begin, count = start - before, length - int(is_separator.sum())
        row[~is_separator] = store.tokens(begin, begin + count)
        return row

    def _last_place(self, block: int) -> int:
        """Return the place of a block's last separator."""
        if self._last_places[block] < 0:
            last = min((block + 1) * self._block, self._store.num_documents) - 1
            self._last_places[block] = int(self._store.document_ends(last, last + 1)[0]) + last
        return int(self._last_places[block])

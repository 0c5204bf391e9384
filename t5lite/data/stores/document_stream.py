"""The virtual concatenation of a store's documents, with separators after each where they are wanted."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from t5lite.data.stores.token_store import PAGE_ITEMS, TokenStore

_MAX_BLOCKS = 1 << 16
"""Ends that are kept, at most: half a MiB of them."""


class DocumentStream:
    """Random access to the documents of a store in a row.

    The store holds them without separators. Of ``S`` separators after each document, those of document ``d``
    stand from place ``end(d) + S * d`` of the stream on, so what a chunk holds follows from the document ends
    around it. They are read by the block of a page; the
    last end of a block is kept when a search first asks for it, so a chunk soon costs a single read of ends.

    Args:
      store: of the documents.
      separators: ids after each document, in order; none puts nothing.

    Attributes:
      num_tokens: of the stream, separators included.
    """

    def __init__(self, store: TokenStore, separators: Sequence[int]):
        self._store, self._separators = store, np.array(separators, np.int32)
        self.num_tokens = store.num_tokens + len(separators) * store.num_documents
        num_pages = -(-store.num_documents // PAGE_ITEMS)
        self._block = PAGE_ITEMS * max(1, -(-num_pages // _MAX_BLOCKS))
        num_blocks = -(-store.num_documents // self._block)
        self._last_places = np.full(num_blocks, -1, np.int64)

    def chunks(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return int32 [len(starts), length], the chunks of ``length`` tokens that begin at ``starts``."""
        per_document = len(self._separators)
        if not per_document:
            return self._store.chunks(starts, length)
        firsts = np.array([self._first_of_block(start) for start in starts.tolist()], np.int64)
        # A document has at least one token, so every other place at most is a first separator.
        stops = np.minimum(firsts + self._block + length // 2 + 1, self._store.num_documents)
        rows = np.empty((len(starts), length), np.int32)
        is_separator = np.zeros(rows.shape, bool)
        begins = np.empty(len(starts), np.int64)
        for row, ends in enumerate(self._store.document_end_ranges(firsts, stops)):
            first, start = int(firsts[row]), int(starts[row])
            last_places = self._last_separators(ends, first) - start
            places = (last_places[:, None] + np.arange(1 - per_document, 1)).ravel()
            # Separators before the chunk, hence also how many tokens of documents are.
            skipped, beyond = np.searchsorted(places, [0, length]).tolist()
            inside = places[skipped:beyond]
            is_separator[row, inside] = True
            rows[row, inside] = self._separators[np.arange(skipped, beyond) % per_document]
            begins[row] = start - per_document * first - skipped
        counts = length - is_separator.sum(axis=1)
        rows[~is_separator] = np.concatenate(self._store.ranges(begins, begins + counts))
        return rows

    def documents_at(self, places: np.ndarray) -> np.ndarray:
        """Return int64 numbers of the documents that places of a stream with separators lie in.

        A separator belongs to the document it ends.
        """
        return np.array([self._document_at(place) for place in places.tolist()], np.int64)

    def _document_at(self, place: int) -> int:
        first = self._first_of_block(place)
        stop = min(first + self._block, self._store.num_documents)
        return first + int(
            np.searchsorted(self._last_separators(self._store.document_ends(first, stop), first), place)
        )

    def _last_separators(self, ends: np.ndarray, first: int) -> np.ndarray:
        """Return the places of the last separators of documents from ``first`` on, which have ``ends``."""
        numbers = np.arange(first, first + len(ends))
        return ends + len(self._separators) * (numbers + 1) - 1

    def _first_of_block(self, place: int) -> int:
        """Return the first document of the block that holds a place."""
        return bisect_left(range(len(self._last_places)), place, key=self._last_place) * self._block

    def _last_place(self, block: int) -> int:
        """Return the place of a block's last separator."""
        if self._last_places[block] < 0:
            last = min((block + 1) * self._block, self._store.num_documents) - 1
            ends = self._store.document_ends(last, last + 1)
            self._last_places[block] = int(self._last_separators(ends, last)[0])
        return int(self._last_places[block])

"""The virtual concatenation of a store's documents, with a separator after each where one is wanted."""

from bisect import bisect_left

import numpy as np

from t5lite.data.token_store import TokenStore


class DocumentStream:
    """Random access to the documents of a store in a row.

    The store holds them without separators. Separator ``d`` stands at place ``end(d) + d`` of the stream, so
    what a chunk holds follows from the document ends around it: a binary search, nothing kept in memory.

    Args:
      store: of the documents.
      separator: id after each document; None puts nothing.

    Attributes:
      num_tokens: of the stream, separators included.
    """

    def __init__(self, store: TokenStore, separator: int | None):
        self._store, self._separator = store, separator
        self.num_tokens = store.num_tokens + (0 if separator is None else store.num_documents)

    def chunks(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return int32 [len(starts), length], the chunks of ``length`` tokens that begin at ``starts``."""
        if self._separator is None:
            return self._store.chunks(starts, length)
        return np.stack([self._chunk(start, length) for start in starts.tolist()])

    def _chunk(self, start: int, length: int) -> np.ndarray:
        store = self._store
        # Separators before the chunk, hence also the number of the first document that ends in it or later.
        before = bisect_left(
            range(store.num_documents), start, key=lambda d: int(store.document_ends(d, d + 1)[0]) + d
        )
        # A document has at least one token, so every other place at most is a separator.
        ends = store.document_ends(before, min(before + length // 2 + 1, store.num_documents))
        places = ends + np.arange(before, before + len(ends)) - start
        is_separator = np.zeros(length, bool)
        is_separator[places[places < length]] = True
        row = np.full(length, self._separator, np.int32)
        first, count = start - before, length - int(is_separator.sum())
        row[~is_separator] = store.tokens(first, first + count)
        return row

"""The token store: all documents' tokens as one stream that any chunk can be read from at random.

A store is a directory::

    index.json                      counts, vocabulary fingerprint, sizes of all other files
    tokens-00000.bin …              the virtual concatenation of the documents, uint16 or uint32
    document_ends-00000.bin …       int64, end offset of each document in the stream
    tokens.crc32 document_ends.crc32   a CRC-32 for each page of the above
    spiece.model                    the vocabulary the tokens belong to (or bytes.json, or tokenizer.json)

Documents follow each other without EOS or separator, as T5's span corruption wants them. The layout and what
it was measured against: docs/adr/0001-token-store-container.md.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np

from t5lite.core import files
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.stores.paged_column import PagedColumn, PagedColumnWriter
from t5lite.data.stores.ranged_column import RangedColumn
from t5lite.data.stores.store_directory import LocalDirectory, StoreDirectory, open_directory
from t5lite.data.stores.store_index import REMEDY, read_index, sealed
from t5lite.data.stores.unknown_tokens import UnknownTokens, unknown_of_each
from t5lite.data.vocabulary import FILE_NAMES, Vocabulary, VocabularyKind, open_vocabulary

FORMAT = "t5lite-token-store"
VERSION = 1
PAGE_ITEMS = 4096
"""Items in a page: 8 KiB of uint16 tokens, so a chunk of 568 touches one page or two."""

PAGES_PER_SHARD = 1 << 16
"""Pages in a shard: 512 MiB of uint16 tokens."""


class TokenStoreWriter:
    """Writes a store; a context manager, and ``path`` appears complete when the block ends, or not at all.

    Raises:
      UserError: if ``path`` exists and ``overwrite`` is false.
      DataError: for a token that is no piece of the vocabulary.
    """

    def __init__(
        self,
        path: str | StoragePath,
        *,
        vocabulary: Vocabulary,
        overwrite: bool = False,
        page_items: int = PAGE_ITEMS,
        pages_per_shard: int = PAGES_PER_SHARD,
    ):
        self._path, self._vocabulary, self._overwrite = place(path), vocabulary, overwrite
        self._page_options = {"page_items": page_items, "pages_per_shard": pages_per_shard}
        self._session = self._write()

    @property
    def num_documents(self) -> int:
        """Documents added so far."""
        return self._num_documents

    @property
    def num_tokens(self) -> int:
        """Tokens added so far."""
        return self._num_tokens

    @property
    def unknown(self) -> UnknownTokens:
        """Unknown tokens added so far."""
        return self._unknown

    def __enter__(self) -> "TokenStoreWriter":
        return self._session.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._session.__exit__(kind, error, trace)

    @contextmanager
    def _write(self) -> Iterator["TokenStoreWriter"]:
        with files.new_directory(self._path, overwrite=self._overwrite, mark="index.json") as directory:
            dtype = "<u2" if self._vocabulary.size <= 1 << 16 else "<u4"
            self._tokens = PagedColumnWriter(directory, "tokens", dtype=dtype, **self._page_options)
            self._ends = PagedColumnWriter(directory, "document_ends", dtype="<i8", **self._page_options)
            self._num_documents = self._num_tokens = 0
            self._unknown = UnknownTokens()
            yield self
            self._vocabulary.write(directory)
            files.write_json(directory / "index.json", sealed(self._index()))

    def _index(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "num_tokens": self._num_tokens,
            "num_documents": self._num_documents,
            "unknown": self._unknown.to_json(),
            "vocabulary": {
                "kind": self._vocabulary.kind,
                "fingerprint": self._vocabulary.fingerprint,
                "extra_ids": self._vocabulary.extra_ids,
                "size": self._vocabulary.size,
            },
            "columns": {"tokens": self._tokens.close(), "document_ends": self._ends.close()},
        }

    def count_lost(self, lost: UnknownTokens) -> None:
        """Take what no token stands for of documents that are added as well."""
        self._unknown = self._unknown.joined(lost)

    def add(self, tokens: np.ndarray) -> None:
        """Append one document of at least one token, without EOS."""
        self.add_batch([tokens])

    def add_batch(self, documents: Iterable[np.ndarray]) -> None:
        """Append documents in order."""
        documents = list(documents)
        if not documents:
            return
        lengths = np.array([len(document) for document in documents], np.int64)
        tokens = np.concatenate(documents)
        if not lengths.all():
            raise DataError("a document without tokens cannot be stored; drop it before")
        if tokens.min() < 0 or tokens.max() >= self._vocabulary.size:
            raise DataError(
                f"token {tokens.max() if tokens.max() >= self._vocabulary.size else tokens.min()} is outside "
                f"of the vocabulary {self._vocabulary.path} of {self._vocabulary.size} ids"
            )
        self._tokens.append(tokens)
        self._ends.append(self._num_tokens + np.cumsum(lengths))
        self._num_tokens += len(tokens)
        self._num_documents += len(documents)
        self._unknown = self._unknown.plus(lengths, unknown_of_each(documents, self._vocabulary.unk_id))


class TokenStore:
    """A store opened for reading; open it with ``TokenStore.open``."""

    def __init__(self, directory: StoreDirectory, index: dict[str, Any], *, tolerate_damage: bool = False):
        self._directory, self._tolerate_damage = directory, tolerate_damage
        self.num_tokens: int = index["num_tokens"]
        self.num_documents: int = index["num_documents"]
        self.unknown: UnknownTokens | None = UnknownTokens(**index["unknown"]) if "unknown" in index else None
        """None of stores that were written before they were counted."""
        self.vocabulary_fingerprint: str = index["vocabulary"]["fingerprint"]
        self._extra_ids: int = index["vocabulary"]["extra_ids"]
        # Stores written before there were other kinds do not say theirs.
        self._kind: VocabularyKind = index["vocabulary"].get("kind", "sentencepiece")
        if (
            not isinstance(self.vocabulary_fingerprint, str)
            or not isinstance(self._extra_ids, int)
            or self._kind not in get_args(VocabularyKind)
        ):
            raise TypeError(f"vocabulary: {index['vocabulary']}")
        self._tokens = self._column("tokens", index, tolerate_damage=tolerate_damage)
        self._ends = self._column("document_ends", index)
        if (len(self._tokens), len(self._ends)) != (self.num_tokens, self.num_documents):
            raise DataError(f"{directory.name_of('index.json')} contradicts itself; {REMEDY}")

    def _column(self, name: str, index: dict[str, Any], *, tolerate_damage: bool = False) -> PagedColumn:
        kind = PagedColumn if isinstance(self._directory, LocalDirectory) else RangedColumn
        entry = index["columns"][name]
        return kind(self._directory, name, entry, remedy=REMEDY, tolerate_damage=tolerate_damage)

    @property
    def path(self) -> str:
        """The store's directory or address."""
        return str(self._directory)

    @classmethod
    def open(
        cls,
        path: str | Path | StoreDirectory,
        vocabulary_fingerprint: str | None = None,
        *,
        tolerate_damage: bool = False,
    ) -> "TokenStore":
        """Open a store; the cost does not depend on how many tokens it has.

        Args:
          path: the store's directory, or its address such as ``gs://bucket/train``. Local files are
            memory-mapped; of others, pages are fetched by ranged reads.
          vocabulary_fingerprint: of the vocabulary the tokens must belong to; None accepts any.
          tolerate_damage: whether shards of tokens that are missing or of another size are found when they
            are read; else the store cannot be opened. Where documents end must be known in any case.

        Raises:
          DataError: if the store is missing, unfinished, truncated, of another format, or belongs to
            another vocabulary.
        """
        directory = open_directory(path)
        index = read_index(directory, "index.json", expected_format=FORMAT, version=VERSION)
        try:
            store = cls(directory, index, tolerate_damage=tolerate_damage)
        except (KeyError, TypeError, ValueError, ZeroDivisionError, MemoryError) as error:
            raise DataError(f"{directory.name_of('index.json')} is damaged ({error!r}); {REMEDY}") from error
        expected = vocabulary_fingerprint
        if expected not in (None, store.vocabulary_fingerprint) and not store.vocabulary().has_fingerprint(
            expected
        ):
            raise DataError(
                f"the store {directory} was tokenised with another vocabulary (fingerprint "
                f"{store.vocabulary_fingerprint[:12]}…, expected {expected[:12]}…); use "
                "the store's vocabulary, or prepare the text again with the one you want"
            )
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes open the files themselves.
        return _reopened, (self.path, self.vocabulary_fingerprint, self._tolerate_damage)

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary in the store.

        Raises:
          DataError: if its file is missing or is not the one the tokens were made with.
        """
        directory = self._directory.local_files(FILE_NAMES)
        vocabulary = open_vocabulary(directory, self._extra_ids, kind=self._kind)
        if not vocabulary.has_fingerprint(self.vocabulary_fingerprint):
            raise DataError(
                f"{vocabulary.path} is not the vocabulary that the store was tokenised with; {REMEDY}"
            )
        return vocabulary

    def tokens(self, start: int, stop: int) -> np.ndarray:
        """Return tokens ``[start, stop)`` of the virtual concatenation, as stored (uint16 or uint32)."""
        return self._tokens.read(start, stop)

    def chunks(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return int32 [len(starts), length], the chunks of ``length`` tokens that begin at ``starts``."""
        return self._tokens.rows(starts, length).astype(np.int32)

    def ranges(self, starts: np.ndarray, stops: np.ndarray) -> list[np.ndarray]:
        """Return ``tokens(starts[i], stops[i])`` for every ``i``; from object storage, all at once."""
        return self._tokens.read_many(starts, stops)

    def document(self, index: int) -> np.ndarray:
        """Return the tokens of one document, as stored."""
        bounds = self._ends.read(max(index - 1, 0), index + 1)
        return self._tokens.read(0 if index == 0 else int(bounds[0]), int(bounds[-1]))

    def documents(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return ``document(i)`` for every ``i`` of ``indices``; from object storage, all at once."""
        firsts = np.maximum(indices - 1, 0)
        bounds = self._ends.read_many(firsts, indices + 1)
        starts = [int(each[0]) if index else 0 for index, each in zip(indices.tolist(), bounds, strict=True)]
        return self.ranges(np.array(starts, np.int64), np.array([each[-1] for each in bounds], np.int64))

    def document_ends(self, start: int, stop: int) -> np.ndarray:
        """Return the ends of documents ``[start, stop)`` in the virtual concatenation, int64."""
        return self._ends.read(start, stop)

    def document_end_ranges(self, starts: np.ndarray, stops: np.ndarray) -> list[np.ndarray]:
        """Return ``document_ends(starts[i], stops[i])`` for every ``i``; from object storage, all at once."""
        return self._ends.read_many(starts, stops)

    @property
    def document_lengths(self) -> np.ndarray:
        """Lengths of all documents, int64 [num_documents]; reads all document ends."""
        return np.diff(self._ends.read(0, self.num_documents), prepend=0)


def _reopened(path: str, vocabulary_fingerprint: str, tolerate_damage: bool) -> TokenStore:
    return TokenStore.open(path, vocabulary_fingerprint, tolerate_damage=tolerate_damage)

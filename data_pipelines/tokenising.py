"""The tasks that take one range of keys: what stays, the vocabulary's sample, tokens."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.bucket_files import (
    byte_lengths,
    column,
    read_batches,
    read_bucket,
    write_array,
    write_batches,
)
from data_pipelines.cleaning import DOCUMENTS, TEXTS
from data_pipelines.near_duplicates import is_among
from data_pipelines.repeated_spans import REPEATED, without_spans
from data_pipelines.stages.sentences import sentences
from t5lite.data.heldout_split import is_heldout
from t5lite.data.stores.unknown_tokens import UnknownTokens, lost_characters
from t5lite.data.text_cutting import cut_text
from t5lite.data.vocabulary import Vocabulary, open_vocabulary

KEPT = DOCUMENTS.append(pa.field("heldout", pa.bool_()))
_BATCH_ROWS = 2048
_PIECE_CHARACTERS = 1 << 20
"""A longer document is encoded in pieces: SentencePiece needs some 15 bytes of memory a character."""
SPLITS = ("train", "heldout")


@dataclass(frozen=True, kw_only=True)
class KeepDocuments:
    """Writes the documents of one range of keys that stay, in the order of their keys: ``NAME.arrow``."""

    documents: str
    near_duplicates: str | None
    repeated: str | None
    minimum_sentences: int
    heldout_fraction: float
    output: str

    def __call__(self, name: str) -> dict[str, Any]:
        """Return counts: documents in, exact and near-duplicates, shortened, documents and bytes out."""
        table = read_bucket(Path(self.documents), int(name), DOCUMENTS).combine_chunks()
        counts = {"documents_in": len(table)}
        keys, rows = np.unique(column(table, "key"), return_index=True)
        counts["exact_duplicates"] = len(table) - len(keys)
        if self.near_duplicates is not None:
            stay = ~is_among(keys, np.load(self.near_duplicates, mmap_mode="r"))
            keys, rows = keys[stay], rows[stay]
            counts["near_duplicates"] = int((~stay).sum())
        table = table.take(pa.array(rows))
        if self.repeated is not None:
            table, span_counts = self._without_spans(table, keys, int(name))
            counts.update(span_counts)
        counts["documents_out"] = len(table)
        counts["bytes_out"] = int(byte_lengths(table["text"]).sum())
        heldout = [is_heldout(text, self.heldout_fraction) for text in table["text"].to_pylist()]
        table = pa.table([*table.columns, pa.array(heldout, pa.bool_())], schema=KEPT)
        slices = (table.slice(start, _BATCH_ROWS) for start in range(0, len(table), _BATCH_ROWS))
        write_batches(Path(self.output, f"{name}.arrow"), slices, KEPT)
        return counts

    def _without_spans(
        self, table: pa.Table, keys: np.ndarray, bucket: int
    ) -> tuple[pa.Table, dict[str, int]]:
        repeated = read_bucket(Path(self.repeated or ""), bucket, REPEATED)
        order = np.lexsort((column(repeated, "sentence"), column(repeated, "key")))
        gone_keys, gone_sentences = column(repeated, "key")[order], column(repeated, "sentence")[order]
        texts: list[str] = table["text"].to_pylist()
        stay = np.ones(len(texts), bool)
        touched = np.flatnonzero(is_among(keys, gone_keys))
        for row in touched.tolist():
            first, last = (np.searchsorted(gone_keys, keys[row], side) for side in ("left", "right"))
            texts[row] = without_spans(texts[row], gone_sentences[first:last].tolist())
            stay[row] = bool(texts[row]) and len(sentences(texts[row])) >= self.minimum_sentences
        table = pa.table([table["key"], pa.array(texts, pa.large_string())], schema=DOCUMENTS)
        dropped = int((~stay).sum())
        counts = {"shortened": len(touched) - dropped, "nothing_but_repeated_spans": dropped}
        return table.filter(pa.array(stay)), counts


@dataclass(frozen=True, kw_only=True)
class SampleDocuments:
    """Writes the training documents of one range of keys that are in the vocabulary's sample.

    The sample is the documents of lowest priority, a second hash of the key: a reservoir sample, as uniform
    as one by a random generator, that does not depend on who sees which document first.
    """

    kept: str
    output: str
    highest_priority: int
    seed: int

    def __call__(self, name: str) -> dict[str, Any]:
        """Return how many documents are in the sample."""
        tables = []
        for batch in read_batches(Path(self.kept, f"{name}.arrow")):
            chosen = priorities(column(batch, "key"), self.seed) <= np.uint64(self.highest_priority)
            texts = batch.column("text").filter(pa.array(chosen & ~column(batch, "heldout")))
            tables.append(pa.table([texts], schema=TEXTS))
        write_batches(Path(self.output, f"{name}.arrow"), tables, TEXTS)
        return {"documents": sum(map(len, tables))}


def priorities(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return a uint64 for each key by which a sample of documents is drawn (splitmix64)."""
    values = keys + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % (1 << 64))
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def highest_priority(
    kept: Path, names: Sequence[str], *, seed: int, sample_bytes: int, total_bytes: int
) -> int:
    """Return the highest priority of the sample: training documents up to it have ``sample_bytes`` of text.

    The document that reaches that many is in, however long, and where there are fewer, all are.
    """
    share = 2 * sample_bytes / max(total_bytes, 1)  # of priorities: above the highest, as a rule
    while True:
        bound = np.uint64(share * ((1 << 64) - 2048) if share < 1 else (1 << 64) - 1)
        values, lengths = _up_to(kept, names, seed, bound)
        order = np.argsort(values)
        ends = np.cumsum(lengths[order])
        if len(ends) and ends[-1] >= sample_bytes:
            return int(values[order[np.searchsorted(ends, sample_bytes)]])
        if share >= 1:
            return int(bound)
        share *= 4


def _up_to(kept: Path, names: Sequence[str], seed: int, bound: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    """Return priority and bytes of the training documents whose priority is at most ``bound``."""
    found, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for name in names:
        for batch in read_batches(kept / f"{name}.arrow"):
            values = priorities(column(batch, "key"), seed)
            chosen = (values <= bound) & ~column(batch, "heldout")
            found.append(values[chosen])
            sizes.append(byte_lengths(batch.column("text"))[chosen])
    return np.concatenate(found), np.concatenate(sizes)


@dataclass(frozen=True, kw_only=True)
class TokeniseDocuments:
    """Tokenises one range of keys: ``NAME.train.npy``, ``NAME.train.lengths.npy``, and of ``heldout``."""

    kept: str
    vocabulary: str
    extra_ids: int | None
    output: str

    def __call__(self, name: str) -> dict[str, Any]:
        """Return documents, tokens, documents without tokens and lost characters, of each split."""
        vocabulary = _vocabulary(self.vocabulary, self.extra_ids)
        dtype = np.uint16 if vocabulary.size <= 1 << 16 else np.uint32
        tokens: dict[str, list[np.ndarray]] = {split: [np.empty(0, dtype)] for split in SPLITS}
        lengths: dict[str, list[np.ndarray]] = {split: [np.empty(0, np.int64)] for split in SPLITS}
        lost = dict.fromkeys(SPLITS, UnknownTokens())
        for batch in read_batches(Path(self.kept, f"{name}.arrow")):
            texts = batch.column("text").to_pylist()
            joined, sizes = _encode(texts, vocabulary)
            joined = joined.astype(dtype)
            heldout = column(batch, "heldout")
            for split, chosen in zip(SPLITS, (~heldout, heldout), strict=True):
                tokens[split].append(joined[np.repeat(chosen, sizes)])
                lengths[split].append(sizes[chosen])
                rows = np.flatnonzero(chosen & (sizes > 0)).tolist()
                lost[split] = lost[split].joined(lost_characters([texts[row] for row in rows], vocabulary))
        counts = {}
        for split in SPLITS:
            joined, sizes = np.concatenate(tokens[split]), np.concatenate(lengths[split])
            stay = sizes > 0
            write_array(Path(self.output, f"{name}.{split}.npy"), joined)
            write_array(Path(self.output, f"{name}.{split}.lengths.npy"), sizes[stay])
            counts[split] = {
                "documents": int(stay.sum()),
                "tokens": len(joined),
                "dropped_empty": int((~stay).sum()),
                "lost": asdict(lost[split]),
            }
        return counts


@functools.cache
def _vocabulary(path: str, extra_ids: int | None) -> Vocabulary:
    return open_vocabulary(path, extra_ids)


def _encode(texts: list[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of all texts and how many each has, on this thread: every core has a task of its own."""
    pieces = [list(cut_text(text, _PIECE_CHARACTERS)) for text in texts]
    joined, sizes = vocabulary.encode_joined(list(chain.from_iterable(pieces)), 1)
    starts = np.cumsum([0, *map(len, pieces)])[:-1]
    return joined, np.add.reduceat(sizes, starts)


def read_tokens(folder: Path, names: Sequence[str], split: str) -> Iterator[list[np.ndarray]]:
    """Yield the documents of all ranges of keys, in order."""
    for name in names:
        tokens = np.load(folder / f"{name}.{split}.npy", mmap_mode="r")
        lengths = np.load(folder / f"{name}.{split}.lengths.npy")
        if len(lengths):
            yield np.split(tokens, np.cumsum(lengths)[:-1])

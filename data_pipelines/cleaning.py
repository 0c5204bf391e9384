"""The tasks that take one document at a time: reading raw files into shards, and cleaning a shard."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from daft import col

from data_pipelines.bucket_files import byte_lengths, read_batches, write_batches, write_buckets
from data_pipelines.expressions import MinHash, apply_stages, document_keys, evaluate, minhash_bands
from data_pipelines.near_duplicates import BANDS
from data_pipelines.reading import read_documents
from data_pipelines.repeated_spans import SPANS, spans_of
from data_pipelines.stages import Stage
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8
from t5lite.data.reading.text_files import TxtDocuments

TEXTS = pa.schema([("text", pa.large_string())])
DOCUMENTS = pa.schema([("key", pa.uint64()), ("text", pa.large_string())])

SHARD_BYTES = 16 << 20
"""Text of a shard that one task cleans; a single document may be longer."""
_BATCH_BYTES = 1 << 20
_EXAMPLE_CHARACTERS = 100


@dataclass(frozen=True, kw_only=True)
class ReadDocuments:
    """Reads a group of raw files into shards of text, ``GROUP-NUMBER.arrow``."""

    folder: str
    groups: Mapping[str, tuple[str, ...]]
    """The files of each group."""
    field: str
    txt_documents: TxtDocuments
    on_invalid_utf8: InvalidUtf8

    def __call__(self, name: str) -> dict[str, Any]:
        """Return the shards' names and, for each file, documents, bytes, a digest, what was lost."""
        counts: dict[str, dict[str, Any]] = {}
        batches: list[pa.Table] = []
        shards: list[str] = []

        def flush() -> None:
            shards.append(f"{name}-{len(shards):05d}")
            write_batches(Path(self.folder, f"{shards[-1]}.arrow"), batches, TEXTS)
            batches.clear()

        for path in self.groups[name]:
            counts[path] = {}
            for batch in self._batches(path, counts[path]):
                batches.append(batch)
                if sum(each.nbytes for each in batches) >= SHARD_BYTES:
                    flush()
        if batches:
            flush()
        return {"shards": shards, "files": counts}

    def _batches(self, path: str, counts: dict[str, Any]) -> Iterator[pa.Table]:
        reading = FileReading(path=path, on_invalid_utf8=self.on_invalid_utf8)
        documents = read_documents(reading, field=self.field, txt_documents=self.txt_documents)
        digest = hashlib.blake2b(digest_size=16)
        texts: list[str] = []
        size = total = number = longest = 0
        for text in documents:
            number += 1
            content = text.encode()
            digest.update(len(content).to_bytes(8, "little") + content)
            texts.append(text)
            size += len(content)
            total += len(content)
            longest = max(longest, len(content))
            if size >= _BATCH_BYTES:
                yield pa.table([pa.array(texts, pa.large_string())], schema=TEXTS)
                texts, size = [], 0
        if texts:
            yield pa.table([pa.array(texts, pa.large_string())], schema=TEXTS)
        counts.update(
            documents=number,
            bytes=total,
            longest_bytes=longest,
            digest=digest.hexdigest(),
            lost=reading.tally.report(),
        )


@dataclass(frozen=True, kw_only=True)
class CleanShard:
    """Applies the stages to a shard; writes what is left, and what finding duplicates needs, in buckets.

    ``documents/`` holds (key, text), ``bands/`` (band, key), ``spans/`` (span, key, sentence).
    """

    shards: str
    folder: str
    stages: tuple[Stage, ...]
    seed: int
    minhash: MinHash | None
    repeated_spans: bool
    num_buckets: int

    def __call__(self, name: str) -> dict[str, Any]:
        """Return counts: what came in, what each stage dropped and why, with examples, what is left."""
        drops: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        kept: list[pa.Table] = []
        counts = {"documents_in": 0, "bytes_in": 0}
        for batch in read_batches(Path(self.shards, f"{name}.arrow")):
            table = pa.Table.from_batches([batch])
            counts["documents_in"] += len(table)
            counts["bytes_in"] += int(byte_lengths(table["text"]).sum())
            result = evaluate(table, result=apply_stages(col("text"), *self.stages))[
                "result"
            ].combine_chunks()
            text, dropped_by, reason = (result.field(part) for part in range(3))
            _count_drops(drops, table["text"].to_pylist(), dropped_by.to_pylist(), reason.to_pylist())
            kept.append(pa.table([text.filter(text.is_valid())], schema=TEXTS))
        texts = pa.concat_tables([TEXTS.empty_table(), *kept])
        counts["documents_out"] = len(texts)
        counts["bytes_out"] = int(byte_lengths(texts["text"]).sum())
        self._write(name, texts)
        return {**counts, "dropped": drops}

    def _write(self, name: str, texts: pa.Table) -> None:
        columns = {"key": document_keys(col("text"), seed=self.seed)}
        if self.minhash is not None:
            columns["bands"] = minhash_bands(col("text"), self.minhash)
        computed = evaluate(texts, **columns)
        keys = computed["key"].to_numpy()
        documents = pa.table([computed["key"].cast(pa.uint64()), texts["text"]], schema=DOCUMENTS)
        write_buckets(self._path("documents", name), documents, keys, self.num_buckets)
        if self.minhash is not None:
            bands = computed["bands"].combine_chunks().flatten().to_numpy()
            pairs = pa.table([bands, np.repeat(keys, self.minhash.bands)], schema=BANDS)
            write_buckets(self._path("bands", name), pairs, bands, self.num_buckets)
        if self.repeated_spans:
            spans = spans_of(texts["text"].to_pylist(), keys)
            table = pa.table(list(spans), schema=SPANS)
            write_buckets(self._path("spans", name), table, spans[0], self.num_buckets)

    def _path(self, kind: str, name: str) -> Path:
        return Path(self.folder, kind, f"{name}.arrow")


def _count_drops(
    drops: dict[str, dict[str, dict[str, Any]]], texts: list[str], stages: list[str], reasons: list[str]
) -> None:
    for text, stage, reason in zip(texts, stages, reasons, strict=True):
        if stage:
            entry = drops[stage].setdefault(reason, {"documents": 0, "bytes": 0, "example": ""})
            entry["documents"] += 1
            entry["bytes"] += len(text.encode())
            entry["example"] = (
                entry["example"] or " ".join(text[: 2 * _EXAMPLE_CHARACTERS].split())[:_EXAMPLE_CHARACTERS]
            )

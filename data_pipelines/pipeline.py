"""The whole road, from raw files to token stores, as steps of tasks; ``run`` is what a recipe calls.

    read      raw files           → shards of text
    clean     a shard             → what its stages keep, with its key; MinHash bands; spans
    pairs     a range of bands    → pairs of near-duplicates; of them all, the connected components
    spans     a range of spans    → the occurrences of three-sentence spans that go
    keep      a range of keys     → the documents that stay, sorted by key: the global shuffle
    sample    a range of keys     → the vocabulary's training text
    tokenise  a range of keys     → tokens
    store     everything          → OUTPUT/train, OUTPUT/heldout, OUTPUT/vocabulary, OUTPUT/manifest.json

A step's tasks are independent and write whole files, so a job that was stopped goes on where it was. A
document's key is a hash of its text and the seed; it decides the order of the documents, and which of several
duplicates stays. So the store is a function of the documents, the recipe and the seed: not of the order of
files, the number of workers or where they ran.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.bucket_files import read_batches, write_array
from data_pipelines.cleaning import CleanShard, ReadDocuments
from data_pipelines.manifest import drop_table, summarise, versions
from data_pipelines.near_duplicates import FindPairs, connected_components
from data_pipelines.options import Cleaning, PipelineOptions
from data_pipelines.reading import ALLOWED
from data_pipelines.repeated_spans import FindRepeatedSpans
from data_pipelines.tokenising import (
    SPLITS,
    KeepDocuments,
    SampleDocuments,
    TokeniseDocuments,
    highest_priority,
    read_tokens,
)
from data_pipelines.work_folder import delete_work_folder, job_of, open_work_folder
from data_pipelines.workers import Task, Workers
from t5lite.core import files
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath, local_place, place, storage_address
from t5lite.data.file_counts import long_documents_warning
from t5lite.data.free_space import naming_free_space
from t5lite.data.heldout_split import nothing_left
from t5lite.data.prepare import check_output
from t5lite.data.reading.input_files import InputFiles, expected_text_bytes, find_input_files
from t5lite.data.stores.store_index import INDEX_FILES
from t5lite.data.stores.token_store import TokenStoreWriter
from t5lite.data.stores.unknown_tokens import UnknownTokens, unknown_line, unknown_warning
from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary, open_vocabulary, train_vocabulary

MANIFEST = "manifest.json"
_GROUP_BYTES = 16 << 20
"""Small files are read together, up to this size."""
_BUCKET_BYTES = (4 << 20, 64 << 20)
"""Smallest and largest text of a range of keys; 64 ranges in between."""
_LONG_BYTES = 500_000
"""Text of a document, that of a novel, from which on it is said to be long."""


def run(
    options: PipelineOptions, cleaning: Cleaning, *, recipe: str, command: str | None = None
) -> dict[str, Any]:
    """Run a recipe; return the manifest that is also written to ``OUTPUT/manifest.json``.

    Args:
      options: what to read and where to write.
      cleaning: what happens to the documents.
      recipe: its name, for the manifest.
      command: what the user typed, for the manifest.

    Raises:
      UserError: for anything that cannot be used, and a full disk; the work folder keeps what is finished.
    """
    output = place(options.output).absolute()
    files.check_new_directory(output, overwrite=options.overwrite, mark=MANIFEST)
    inputs = find_input_files(options.inputs, allowed=ALLOWED)
    given = None if options.vocabulary is None else open_vocabulary(options.vocabulary, options.extra_ids)
    work = _work_folder(output) if options.work is None else local_place(options.work).absolute()
    files.check_apart(output, [work])
    for written in (output, work):
        check_output(written, options.inputs, inputs, given)
    open_work_folder(work, job_of(options, cleaning, inputs, given))
    job = _Job(options, cleaning, inputs, work)
    with _stopping(work):
        counts = job.prepare_documents()
        vocabulary = job.vocabulary(given, counts["keep"])
        counts["tokenise"] = job.tokenise(vocabulary)
    manifest = {
        **({"command": command} if command else {}),
        "recipe": recipe,
        "options": asdict(options),
        "cleaning": repr(cleaning),
        "versions": versions(),
        **summarise(counts, cleaning=_stage_names(cleaning), skipped=inputs.skipped),
        "vocabulary": {
            "kind": vocabulary.kind,
            "size": vocabulary.size,
            "extra_ids": vocabulary.extra_ids,
            "fingerprint": vocabulary.fingerprint,
            "trained": given is None,
        },
    }
    with (
        job.disk(files.written_in(output)),
        files.new_directory(
            output, overwrite=options.overwrite, mark=MANIFEST, last=(*INDEX_FILES, MANIFEST)
        ) as new,
    ):
        manifest["stores"] = job.write_stores(new, vocabulary, counts["tokenise"])
        vocabulary.write(new / "vocabulary")
        files.write_json(new / MANIFEST, manifest)
    if not options.keep_work:
        delete_work_folder(work)
    print(drop_table(manifest))
    print(unknown_line(manifest["stores"], "documents", {}))
    longest = {path: file["longest_bytes"] for path, file in manifest["inputs"]["files"].items()}
    for warning in (
        unknown_warning(manifest["stores"], vocabulary=options.vocabulary),
        long_documents_warning(longest, options.txt_documents, least=_LONG_BYTES, unit="bytes"),
    ):
        if warning:
            print(warning)
    return manifest


def _work_folder(output: StoragePath) -> Path:
    """Return the folder of what is in between: beside the output, or of its name here for one in a bucket."""
    return Path(f"{output}.work" if isinstance(output, Path) else f"{output.name}.work").absolute()


@contextmanager
def _stopping(work: Path) -> Iterator[None]:
    """End the process at Ctrl-C within the block: Daft's threads would abort or hold up an orderly exit."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"t5lite prepare: interrupted; {work} has what is finished: the same command goes on",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os._exit(130)


class _Job:
    """The steps of one job in its work folder."""

    def __init__(self, options: PipelineOptions, cleaning: Cleaning, inputs: InputFiles, work: Path):
        self._options, self._cleaning, self._inputs, self._work = options, cleaning, inputs, work
        self._workers = Workers(count=options.workers, ray_address=options.ray)
        self._expected_bytes = inputs.expected_text_bytes
        smallest, largest = _BUCKET_BYTES
        bucket_bytes = min(max(self._expected_bytes // 64, smallest), largest)
        self._num_buckets = max(-(-self._expected_bytes // bucket_bytes), 1)
        self._buckets = [f"{number:05d}" for number in range(self._num_buckets)]

    def disk(self, folder: Path) -> Any:
        """Return a context that says how much disk is needed when it is full."""
        return naming_free_space(
            folder,
            needed_bytes=2 * self._expected_bytes,
            remedy="finished shards are kept, so the same command goes on",
        )

    def _folder(self, name: str) -> str:
        return str(self._work / name)

    def _run(self, step: str, task: Task, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        with self.disk(self._work):
            return self._workers.run(
                task,
                names,
                label=f"{step:<8}",
                marks=self._work / "marks" / step,
                needed_bytes=2 * self._expected_bytes,
            )

    def prepare_documents(self) -> dict[str, Mapping[str, Mapping[str, Any]]]:
        """Run the steps up to the documents that stay; return the answers of each step's tasks."""
        cleaning = self._cleaning
        counts: dict[str, Mapping[str, Mapping[str, Any]]] = {"read": self._read()}
        shards = [shard for answer in counts["read"].values() for shard in answer["shards"]]
        clean = CleanShard(
            shards=self._folder("read"),
            folder=str(self._work),
            stages=cleaning.stages,
            seed=self._options.seed,
            minhash=cleaning.minhash,
            repeated_spans=cleaning.repeated_spans,
            num_buckets=self._num_buckets,
        )
        counts["clean"] = self._run("clean", clean, shards)
        shutil.rmtree(self._work / "read", ignore_errors=True)
        near_duplicates = None if cleaning.minhash is None else self._near_duplicates()
        repeated = None
        if cleaning.repeated_spans:
            repeated = self._folder("repeated")
            find = FindRepeatedSpans(
                spans=self._folder("spans"),
                near_duplicates=near_duplicates,
                output=repeated,
                num_buckets=self._num_buckets,
            )
            counts["spans"] = self._run("spans", find, self._buckets)
        keep = KeepDocuments(
            documents=self._folder("documents"),
            near_duplicates=near_duplicates,
            repeated=repeated,
            minimum_sentences=cleaning.minimum_sentences,
            heldout_fraction=self._options.heldout_fraction,
            output=self._folder("kept"),
        )
        counts["keep"] = self._run("keep", keep, self._buckets)
        if not any(answer["documents_out"] for answer in counts["keep"].values()):
            table = drop_table(summarise(counts, cleaning=_stage_names(cleaning)))
            raise DataError(
                f"no document is left, the recipe drops them all: {'; '.join(table.splitlines())}"
            )
        return counts

    def _read(self) -> dict[str, dict[str, Any]]:
        groups: list[list[str]] = []
        size = _GROUP_BYTES
        for path, num_bytes in self._inputs.sizes.items():
            if size >= _GROUP_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(path if storage_address(path) else os.path.abspath(path))
            size += expected_text_bytes(path, num_bytes)
        named = {f"{number:05d}": tuple(group) for number, group in enumerate(groups)}
        read = ReadDocuments(
            folder=self._folder("read"),
            groups=named,
            field=self._options.field,
            txt_documents=self._options.txt_documents,
            on_invalid_utf8=self._options.on_invalid_utf8,
        )
        return self._run("read", read, list(named))

    def _near_duplicates(self) -> str:
        """Find all but one document of each connected component; return the file of their keys, sorted."""
        path = self._work / "near_duplicates.npy"
        pairs = self._folder("pairs")
        self._run("pairs", FindPairs(bands=self._folder("bands"), output=pairs), self._buckets)
        if not path.exists():
            arrays = [np.load(Path(pairs, f"{name}.npy"), mmap_mode="r") for name in self._buckets]
            nodes, roots = connected_components(arrays)
            write_array(path, nodes[nodes != roots])
        return str(path)

    def vocabulary(self, given: Vocabulary | None, kept: Mapping[str, Mapping[str, Any]]) -> Vocabulary:
        """Copy the given vocabulary to the work folder, or train one on a sample of the documents."""
        options, folder = self._options, self._work / "vocabulary"
        if given is not None:
            given.write(folder)
            return open_vocabulary(folder, given.extra_ids, kind=given.kind)
        model = folder / SentencePieceVocabulary.FILE
        if not model.exists():
            highest = highest_priority(
                self._work / "kept",
                self._buckets,
                seed=options.seed,
                sample_bytes=options.vocabulary_sample_mib << 20,
                total_bytes=sum(answer["bytes_out"] for answer in kept.values()),
            )
            sample = SampleDocuments(
                kept=self._folder("kept"),
                output=self._folder("sample"),
                highest_priority=highest,
                seed=options.seed,
            )
            counts = self._run("sample", sample, self._buckets)
            if not any(answer["documents"] for answer in counts.values()):
                raise DataError(nothing_left("train", options.heldout_fraction))
            paths = [self._work / "sample" / f"{name}.arrow" for name in self._buckets]
            batches = (batch for path in paths for batch in read_batches(path))
            texts = (text for batch in batches for text in batch.column("text").to_pylist())
            train_vocabulary(
                texts,
                model,
                size=options.vocabulary_size,
                seed=options.seed,
                character_coverage=options.character_coverage,
            )
        return SentencePieceVocabulary(model, options.extra_ids)

    def tokenise(self, vocabulary: Vocabulary) -> dict[str, dict[str, Any]]:
        """Tokenise the documents that stay."""
        tokenise = TokeniseDocuments(
            kept=self._folder("kept"),
            vocabulary=str(self._work / "vocabulary"),
            extra_ids=vocabulary.extra_ids,
            output=self._folder("tokens"),
        )
        return self._run("tokenise", tokenise, self._buckets)

    def write_stores(
        self, directory: Path, vocabulary: Vocabulary, tokenised: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Write the stores under ``directory``; return their counts and the SHA-256 of their files.

        Args:
          directory: of the stores.
          vocabulary: of their tokens.
          tokenised: what ``tokenise`` returned.
        """
        stores = {}
        for split in SPLITS[: 2 if self._options.heldout_fraction else 1]:
            with TokenStoreWriter(directory / split, vocabulary=vocabulary) as writer:
                for documents in read_tokens(self._work / "tokens", self._buckets, split):
                    writer.add_batch(documents)
                for answer in tokenised.values():
                    writer.count_lost(UnknownTokens(**answer[split]["lost"]))
                if not writer.num_documents:
                    raise DataError(nothing_left(split, self._options.heldout_fraction))
            stores[split] = {
                "documents": writer.num_documents,
                "tokens": writer.num_tokens,
                "unknown": {"documents": writer.unknown.to_json()},
                "sha256": {path.name: _sha256(path) for path in sorted((directory / split).iterdir())},
            }
        return stores


def _stage_names(cleaning: Cleaning) -> list[str]:
    return [type(stage).__name__ for stage in cleaning.stages]


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

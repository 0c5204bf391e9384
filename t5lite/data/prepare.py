"""From files to token stores: vocabulary, held-out split, tokens; everything appears at once.

    OUTPUT/train  OUTPUT/heldout  OUTPUT/vocabulary/  OUTPUT/prepare.json

Whether a document is held out is decided by a hash of its text, so it does not depend on the order of the
files, and copies of a held-out document never stay in the training text.
"""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from tqdm import tqdm

from t5lite.core import files
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, local_path, place, storage_address
from t5lite.data.document_shuffle import DocumentShuffle
from t5lite.data.file_counts import FileCounts
from t5lite.data.free_space import naming_free_space
from t5lite.data.heldout_split import BATCH, HeldoutSplit, SplitByHash, write_split
from t5lite.data.reading.input_files import (
    FORMATS,
    RECORD_FORMATS,
    InputFiles,
    Progress,
    find_input_files,
    input_format,
)
from t5lite.data.reading.record_texts import InvalidUtf8
from t5lite.data.reading.tally import Tally
from t5lite.data.reading.text_files import TxtDocuments, read_pairs, read_texts
from t5lite.data.stores.pair_store import PairStoreWriter
from t5lite.data.stores.store_index import INDEX_FILES
from t5lite.data.stores.store_sinks import PairSink, StoreCounts, TextSink
from t5lite.data.stores.target_texts import CopiedInputs, TargetTexts
from t5lite.data.stores.token_store import TokenStoreWriter
from t5lite.data.stores.unknown_tokens import unknown_line, unknown_warning
from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary, open_vocabulary, train_vocabulary
from t5lite.data.vocabulary.base import check_extra_ids
from t5lite.data.vocabulary.sentencepiece_training import check_character_coverage

Shuffle = Literal["auto", "always", "never"]

_REPORT = "prepare.json"


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What preparing texts and preparing pairs have in common."""

    inputs: tuple[str, ...]
    """Files, folders and globs, local or at an address such as gs://bucket/folder: .txt, .jsonl, .tsv,
    .csv (also .gz, .xz, .zst), .parquet, ArrayRecord, and folders that `datasets` saved."""

    output: str
    """Directory to create, local or at gs:// or s3://."""

    vocabulary: str | None = None
    """`bytes`, or an existing spiece.model, tokenizer.json or folder with one; without it, a SentencePiece
    vocabulary is trained on the training part of the text."""

    vocabulary_size: int = 32_000
    """Pieces of the vocabulary to train, without the sentinels."""

    character_coverage: float = 0.99999
    """Share of the characters of the text that a trained vocabulary has pieces for; 1 leaves none unknown."""

    extra_ids: int | None = None
    """Sentinels on top of the pieces; None takes what the vocabulary says, else 100 (125 for bytes)."""

    heldout_fraction: float = 0.01
    """Share of the documents kept for evaluation; 0 for none."""

    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid UTF-8, or replace each invalid byte by U+FFFD."""

    overwrite: bool = False
    """Replace the output directory, if an earlier `t5lite prepare` wrote all that is in it."""

    num_threads: int | None = None
    """Threads of the tokeniser; all cores by default."""

    seed: int = 0
    """Of the shuffled order, and of the sample that a vocabulary is trained on when the text is large."""

    unit: ClassVar[str]
    """What an example of the stores is called."""

    def __post_init__(self):
        expand_fields(self, "inputs", "output", "vocabulary")
        if not 0 <= self.heldout_fraction < 1:
            raise ConfigError(f"heldout_fraction={self.heldout_fraction} must be at least 0 and below 1")
        if self.vocabulary_size < 4:
            raise ConfigError(f"vocabulary_size={self.vocabulary_size} must be at least 4; T5 uses 32000")
        check_character_coverage(self.character_coverage)
        if self.extra_ids is not None:
            check_extra_ids(self.extra_ids)
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"num_threads={self.num_threads} must be at least 1, or None for all cores")
        if not 0 <= self.seed < 1 << 32:
            raise ConfigError(f"seed={self.seed} must be in 0..{(1 << 32) - 1}")


@dataclass(frozen=True, kw_only=True)
class PrepareTextConfig(PrepareConfig):
    """Turns text files into token stores for pretraining."""

    field: str = "text"
    """JSON field or column (of TSV and CSV also a number) that holds the text."""

    txt_documents: TxtDocuments = "paragraph"
    """What a document is in .txt files; `piece` cuts them at white space every 16,000 characters."""

    shuffle: Shuffle = "auto"
    """Order of the documents: as read, or by a hash of their text and the seed; `auto` keeps the order of
    .txt files, whose documents follow from each other, and shuffles as soon as there are others."""

    unit: ClassVar[str] = "documents"

    def prepare(self, *, command: str | None = None) -> dict[str, Any]:
        """Do so; see ``prepare_text``."""
        return prepare_text(self, command=command)


@dataclass(frozen=True, kw_only=True)
class PreparePairsConfig(PrepareConfig):
    """Turns files of (inputs, targets) records into pair stores for fine-tuning."""

    inputs_field: str = "inputs"
    """JSON field or column (of TSV and CSV also a number) of the input text."""

    targets_field: str = "targets"
    """JSON field or column (of TSV and CSV also a number) of the target text."""

    prefix: str = ""
    """Put before every input, such as ``translate English to Spanish: ``."""

    unit: ClassVar[str] = "pairs"

    def __post_init__(self):
        super().__post_init__()
        CopiedInputs.check_fields(self.inputs_field, self.targets_field)

    def prepare(self, *, command: str | None = None) -> dict[str, Any]:
        """Do so; see ``prepare_pairs``."""
        return prepare_pairs(self, command=command)


def write_text_store(
    texts: Iterable[str],
    vocabulary: Vocabulary,
    path: str | StoragePath,
    *,
    num_threads: int | None = None,
    overwrite: bool = False,
) -> StoreCounts:
    """Tokenise ``texts`` into a token store at ``path``.

    Raises:
      DataError: if no text has a token; nothing is left at ``path``.
      UserError: if ``path`` exists and ``overwrite`` is false.
    """
    with TokenStoreWriter(path, vocabulary=vocabulary, overwrite=overwrite) as writer:
        return _write_all(texts, TextSink(writer, vocabulary, num_threads), path)


def write_pair_store(
    pairs: Iterable[tuple[str, str]],
    vocabulary: Vocabulary,
    path: str | StoragePath,
    *,
    num_threads: int | None = None,
    overwrite: bool = False,
) -> StoreCounts:
    """Tokenise (inputs, targets) ``pairs`` into a pair store at ``path``.

    Raises:
      DataError: if no pair has tokens on both sides; nothing is left at ``path``.
      UserError: if ``path`` exists and ``overwrite`` is false.
    """
    with PairStoreWriter(path, vocabulary=vocabulary, overwrite=overwrite) as writer:
        return _write_all(pairs, PairSink(writer, vocabulary, num_threads, TargetTexts()), path)


def prepare_text(config: PrepareTextConfig, *, command: str | None = None) -> dict[str, Any]:
    """Prepare text for pretraining; return the report that is also written to ``prepare.json``.

    Args:
      config: what to read and where to write.
      command: what the user typed, for the report.

    Raises:
      UserError: for any input that cannot be used; nothing is left behind.
    """
    inputs = find_input_files(config.inputs, allowed=FORMATS)
    in_order = {"auto": all(input_format(path) == ".txt" for path in inputs.paths), "never": True}
    shuffle = not in_order.get(config.shuffle, False)
    order = partial(DocumentShuffle, seed=config.seed, expected_bytes=expected_token_bytes(inputs))
    return prepare_stores(
        config,
        inputs,
        read=lambda progress, tally: read_texts(
            inputs.paths,
            field=config.field,
            txt_documents=config.txt_documents,
            on_invalid_utf8=config.on_invalid_utf8,
            progress=progress,
            tally=tally,
        ),
        split=SplitByHash(config.heldout_fraction),
        split_by=lambda text: text,
        vocabulary_texts=lambda text: (text,),
        open_sink=partial(TextSink.enter, num_threads=config.num_threads, shuffle=order if shuffle else None),
        shuffle=shuffle,
        unit="documents",
        remarks=lambda files: [files.long_documents(config.txt_documents)],
        command=command,
    )


def prepare_pairs(config: PreparePairsConfig, *, command: str | None = None) -> dict[str, Any]:
    """Prepare pairs for fine-tuning; return the report that is also written to ``prepare.json``.

    A pair is held out by its input, so that equal inputs with other targets stay on the same side.

    Args:
      config: what to read and where to write.
      command: what the user typed, for the report.

    Raises:
      UserError: for any input that cannot be used; nothing is left behind.
    """
    inputs = find_input_files(config.inputs, allowed=RECORD_FORMATS)
    targets, copies, prefix = TargetTexts(), CopiedInputs(), config.prefix

    def read(progress: Progress, tally: Tally) -> Iterator[tuple[str, str]]:
        pairs = read_pairs(
            inputs.paths,
            inputs_field=config.inputs_field,
            targets_field=config.targets_field,
            on_invalid_utf8=config.on_invalid_utf8,
            progress=progress,
            tally=tally,
        )
        # A prefix must not hide an empty input, which is dropped.
        return ((prefix + text if text.strip() else "", target) for text, target in copies.counted(pairs))

    return prepare_stores(
        config,
        inputs,
        read=read,
        split=SplitByHash(config.heldout_fraction),
        split_by=lambda pair: pair[0],
        # Tens of thousands of prefixes would earn pieces of their own at the text's expense.
        vocabulary_texts=lambda pair: (pair[0].removeprefix(prefix), pair[1]),
        open_sink=partial(PairSink.enter, num_threads=config.num_threads, targets=targets),
        shuffle=False,  # training shuffles pairs one by one
        unit="pairs",
        remarks=lambda files: [copies.remark() or targets.remark()],
        command=command,
    )


def prepare_stores(
    config: PrepareConfig,
    inputs: InputFiles,
    *,
    read: Callable[[Progress, Tally], Iterator[Any]],
    split: HeldoutSplit,
    split_by: Callable[[Any], str],
    vocabulary_texts: Callable[[Any], Iterable[str]],
    open_sink: Callable[..., TextSink | PairSink],
    shuffle: bool,
    unit: str,
    remarks: Callable[[FileCounts], Iterable[str | None]],
    command: str | None,
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run the steps; return the report that is also written to ``prepare.json``.

    An item is a text or a pair.

    Args:
      config: what to read and where to write.
      inputs: the files.
      read: yields the items of all of them; called twice where a vocabulary is trained.
      split: says which of them are held out.
      split_by: returns the text of an item that says whether it is.
      vocabulary_texts: returns the texts of an item that a vocabulary is trained on.
      open_sink: opens a store that takes items.
      shuffle: whether it shuffles them.
      unit: what items are called in messages.
      remarks: returns what to say at the end.
      command: what the user typed, for the report.
      beside: JSON files that are written beside the report, by name.

    Raises:
      UserError: for any input that cannot be used; nothing is left behind.
    """
    output = place(config.output)
    existing = None if config.vocabulary is None else open_vocabulary(config.vocabulary, config.extra_ids)
    check_output(output, config.inputs, inputs, existing)

    def items(label: str, tally: Tally) -> Generator[Any]:
        with tqdm(total=inputs.num_bytes, desc=label, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            try:
                yield from read(bar.update, tally)
            except BaseException:
                bar.leave = False  # clear the line for the error
                raise

    # Closed where it is read, for an error keeps the frames that it came through, and an open bar its line.
    def told_apart(label: str, tally: Tally) -> Generator[tuple[Any, bool, str]]:
        with closing(items(label, tally)) as told:
            for item in told:
                yield item, split.holds_out(split_by(item), tally.file), tally.file

    expected_bytes = expected_token_bytes(inputs)
    with (
        naming_free_space(files.written_in(output), needed_bytes=expected_bytes * (3 if shuffle else 1)),
        files.new_directory(
            output, overwrite=config.overwrite, mark=_REPORT, last=(*INDEX_FILES, _REPORT)
        ) as directory,
    ):
        folder = directory / "vocabulary"
        if existing is not None:
            existing.write(folder)
            vocabulary = open_vocabulary(folder, existing.extra_ids, kind=existing.kind)
        else:
            model = folder / SentencePieceVocabulary.FILE
            with closing(told_apart("training the vocabulary", Tally())) as labelled:
                training_items = (item for item, is_heldout, _ in labelled if not is_heldout)
                if (first := next(training_items, None)) is None:
                    raise DataError(split.nothing_left("train"))
                texts = map(vocabulary_texts, itertools.chain([first], training_items))
                train_vocabulary(
                    itertools.chain.from_iterable(texts),
                    model,
                    size=config.vocabulary_size,
                    seed=config.seed,
                    character_coverage=config.character_coverage,
                )
            vocabulary = SentencePieceVocabulary(model, config.extra_ids)
        tally = Tally()
        file_counts = FileCounts()
        with closing(told_apart("tokenising", tally)) as told:
            counts = write_split(
                told,
                directory,
                split,
                open_sink=partial(open_sink, vocabulary=vocabulary),
                file_counts=file_counts,
            )
        stores = {name: store_counts.to_json() for name, store_counts in counts.items()}
        most_unknown = file_counts.most_unknown()
        said = unknown_line(stores, unit, most_unknown)
        warnings = [unknown_warning(stores, vocabulary=config.vocabulary), *remarks(file_counts)]
        report = {
            **({"command": command} if command else {}),
            "config": asdict(config),
            "inputs": {
                "files": len(inputs.paths),
                "bytes": inputs.num_bytes,
                "skipped": [*inputs.skipped, *tally.empty_files],
                "lost": tally.report(),
                "shuffled": shuffle,
            },
            "vocabulary": {
                "kind": vocabulary.kind,
                "file": next(iter(vocabulary.files)),
                "size": vocabulary.size,
                "extra_ids": vocabulary.extra_ids,
                "fingerprint": vocabulary.fingerprint,
                "trained": existing is None,
            },
            "stores": stores,
            "unknown_tokens": {"said": said, "worst_files": most_unknown},
            "warnings": [warning for warning in warnings if warning],
        }
        for name, content in (beside or {}).items():
            files.write_json(directory / name, content)
        files.write_json(directory / _REPORT, report)
    return report


def check_output(
    output: StoragePath, given: Iterable[str], found: InputFiles, vocabulary: Vocabulary | None
) -> None:
    """Check that writing ``output`` takes nothing with it that is read: an input or the vocabulary.

    Args:
      output: where something is written and may be replaced.
      given: the inputs as the user wrote them.
      found: the files they stand for.
      vocabulary: that was given.

    Raises:
      UserError: if it does, or ``output`` lies in an input folder, where it would be read the next time.
    """
    named = (*given, *found.paths, *found.skipped)
    inputs: list[Any] = [path if storage_address(path) else local_path(path) for path in named]
    if vocabulary is not None and vocabulary.path.exists():  # which `bytes` is not
        folder = vocabulary.path if vocabulary.path.is_dir() else vocabulary.path.parent
        inputs += [folder / name for name in vocabulary.files]
    files.check_apart(output, inputs)


def expected_token_bytes(inputs: InputFiles) -> int:
    """Return roughly, rather too many, bytes that the tokens of ``inputs`` take in a store."""
    return inputs.expected_text_bytes * 3 // 4


def _write_all(items: Iterable[Any], sink: TextSink | PairSink, path: str | StoragePath) -> StoreCounts:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, BATCH)):
        sink.add(batch)
    sink.finish()
    if not sink.counts.examples:
        raise DataError(
            f"nothing to write to {path}: {sink.counts.dropped_empty} texts were given and none has a token"
        )
    return sink.counts

"""Pairs of documents for fine-tuning: two token stores of equal document count under one directory.

pairs.json   inputs/   targets/
target_names.json   the distinct targets as they were given, where they repeat: names of classes
other_targets.json   by a pair's number, texts that are as right as its target, where there are any
labels/   of a task that says them: what heads of encoder-only models learn of a pair, as JSON in bytes
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from t5lite.core import files
from t5lite.core.errors import DataError
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.stores.store_directory import StoreDirectory, open_directory
from t5lite.data.stores.store_index import INDEX_FILES, read_index, sealed
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.stores.unknown_tokens import UnknownTokens
from t5lite.data.vocabulary import ByteVocabulary, Vocabulary

MAX_NAMED_TARGETS = 10_000
"""Distinct targets above which they are no names of classes."""

_BYTES = ByteVocabulary(extra_ids=0)
FORMAT = "t5lite-pair-store"
VERSION = 1
LABELS = "labels"
_NAMES = "target_names.json"
_OTHERS = "other_targets.json"


def is_pair_store(path: str | Path) -> bool:
    """Whether there is a pair store at a path or address; one that is damaged is still one."""
    try:
        open_directory(path).size("pairs.json")
    except OSError:
        return False
    return True


def has_labels(index: Mapping[str, Any]) -> bool:
    """Whether the index of a pair store says that there are labels."""
    return bool(index.get(LABELS))


class PairStoreWriter:
    """Writes a pair store; ``path`` appears complete when the block ends, or not at all."""

    def __init__(
        self,
        path: str | StoragePath,
        *,
        vocabulary: Vocabulary,
        overwrite: bool = False,
        has_labels: bool = False,
    ):
        self._path, self._vocabulary, self._overwrite = place(path), vocabulary, overwrite
        self.has_labels = has_labels
        self.collapsed_targets: list[list[str]] = []
        """Target texts that have the same tokens; to be set before the block ends."""
        self.target_names: Sequence[str] = ()
        """The distinct targets, to be set where they name classes: their ids may not spell them exactly."""
        self.other_targets: dict[int, Sequence[str]] = {}
        """By a pair's number, texts that are as right as its target."""
        self._session = self._write()

    @property
    def unknown(self) -> dict[str, UnknownTokens]:
        """Unknown tokens added so far to inputs and targets."""
        return {"inputs": self._inputs.unknown, "targets": self._targets.unknown}

    @property
    def num_pairs(self) -> int:
        """Pairs added so far."""
        return self._inputs.num_documents

    @property
    def num_tokens(self) -> tuple[int, int]:
        """Tokens added so far to (inputs, targets)."""
        return self._inputs.num_tokens, self._targets.num_tokens

    def __enter__(self) -> "PairStoreWriter":
        return self._session.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._session.__exit__(kind, error, trace)

    @contextmanager
    def _write(self) -> Iterator["PairStoreWriter"]:
        with files.new_directory(
            self._path, overwrite=self._overwrite, mark="pairs.json", last=INDEX_FILES
        ) as directory:
            with (
                TokenStoreWriter(directory / "inputs", vocabulary=self._vocabulary) as self._inputs,
                TokenStoreWriter(directory / "targets", vocabulary=self._vocabulary) as self._targets,
                ExitStack() as stack,
            ):
                if self.has_labels:
                    writer = TokenStoreWriter(directory / LABELS, vocabulary=_BYTES)
                    self._labels = stack.enter_context(writer)
                yield self
            index: dict[str, Any] = {
                **({LABELS: True} if self.has_labels else {}),
                "format": FORMAT,
                "version": VERSION,
                "num_pairs": self.num_pairs,
                "collapsed_targets": self.collapsed_targets,
                "vocabulary": {"fingerprint": self._vocabulary.fingerprint},
            }
            for name, content in ((_NAMES, list(self.target_names)), (_OTHERS, self.other_targets)):
                if content:
                    files.write_json(directory / name, content)
                    index[_crc_field(name)] = zlib.crc32((directory / name).read_bytes())
            files.write_json(directory / "pairs.json", sealed(index))

    def count_lost(self, inputs: UnknownTokens, targets: UnknownTokens) -> None:
        """Take what no token stands for of pairs that are added as well."""
        self._inputs.count_lost(inputs)
        self._targets.count_lost(targets)

    def add_labels(self, labels: Iterable[str]) -> None:
        """Append the labels, in JSON, of pairs that are added as well."""
        self._labels.add_batch(_BYTES.encode_batch(list(labels)))

    def add_batch(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Append (inputs, targets) pairs in order; neither side may be empty."""
        pairs = list(pairs)
        self._inputs.add_batch(inputs for inputs, _ in pairs)
        self._targets.add_batch(targets for _, targets in pairs)


def _crc_field(name: str) -> str:
    return f"{name.removesuffix('.json')}_crc32"


class PairStore:
    """A pair store opened for reading; open it with ``PairStore.open``.

    Attributes:
      collapsed_targets: target texts that the vocabulary cannot tell apart, the first such groups.
    """

    def __init__(
        self,
        path: str,
        inputs: TokenStore,
        targets: TokenStore,
        collapsed_targets: Sequence[Sequence[str]] = (),
        crcs: Mapping[str, int] | None = None,
        labels: TokenStore | None = None,
    ):
        self.path, self.inputs, self.targets = path, inputs, targets
        self._crcs, self._labels = crcs or {}, labels
        self.collapsed_targets = collapsed_targets
        self.num_pairs = inputs.num_documents

    @classmethod
    def open(
        cls,
        path: str | Path | StoreDirectory,
        vocabulary_fingerprint: str | None = None,
        *,
        tolerate_damage: bool = False,
    ) -> "PairStore":
        """Open a pair store; arguments as of ``TokenStore.open``.

        Raises:
          DataError: as ``TokenStore.open``, and if the two sides do not belong together.
        """
        directory = open_directory(path)
        index = read_index(directory, "pairs.json", expected_format=FORMAT, version=VERSION)
        inputs = TokenStore.open(
            directory.child("inputs"), vocabulary_fingerprint, tolerate_damage=tolerate_damage
        )
        targets = TokenStore.open(
            directory.child("targets"), inputs.vocabulary_fingerprint, tolerate_damage=tolerate_damage
        )
        labels = None
        if has_labels(index):
            labels = TokenStore.open(
                directory.child(LABELS), _BYTES.fingerprint, tolerate_damage=tolerate_damage
            )
        sides = {"inputs": inputs, "targets": targets, **({} if labels is None else {"labels": labels})}
        if any(index.get("num_pairs") != side.num_documents for side in sides.values()):
            numbers = ", ".join(f"{side.num_documents} {name}" for name, side in sides.items())
            raise DataError(
                f"{directory} has {numbers} and says {index.get('num_pairs')} pairs; rebuild it with `t5lite "
                "prepare`"
            )
        # Stores written before they were looked for do not say.
        collapsed = index.get("collapsed_targets", ())
        crcs = {name: index[_crc_field(name)] for name in (_NAMES, _OTHERS) if _crc_field(name) in index}
        return cls(str(directory), inputs, targets, collapsed, crcs, labels)

    def labels(self, *, wanted: Sequence[str]) -> list[dict[str, Any]] | None:
        """Return what a head learns of each pair, as it was given; None where the store does not say.

        Args:
          wanted: of what each pair has to have something.

        Raises:
          DataError: if it is damaged, or of a task that says something else.
        """
        if self._labels is None:
            return None
        documents = self._labels.documents(np.arange(self.num_pairs))
        rows = [parse_json(_BYTES.decode(document)) for document in documents]
        if rows and not set(wanted) <= rows[0].keys():
            raise DataError(
                f"the labels of {self.path} are {', '.join(rows[0])}, not {', '.join(wanted)}; prepare the "
                "rows for a task that has these"
            )
        return rows

    def has_labels(self, *names: str) -> bool:
        """Whether it says all of these of its pairs."""
        if self._labels is None or not self.num_pairs:
            return False
        return set(names) <= parse_json(_BYTES.decode(self._labels.document(0))).keys()

    def target_names(self) -> tuple[str, ...]:
        """Return the distinct targets as they were given; empty where the store does not say.

        Raises:
          DataError: if the file that says it is damaged.
        """
        names = self._read(_NAMES, list)
        if not all(isinstance(name, str) for name in names):
            raise DataError(
                f"{open_directory(self.path).name_of(_NAMES)} is no list of names; fetch it again"
            )
        return tuple(names)

    def other_targets(self) -> dict[int, tuple[str, ...]]:
        """Return, by a pair's number, texts that are as right as its target, as they were given.

        Raises:
          DataError: if the file that says it is damaged.
        """
        if _OTHERS not in self._crcs:
            return {}
        return {int(number): tuple(texts) for number, texts in self._read(_OTHERS, dict).items()}

    def _read(self, name: str, kind: type) -> Any:
        """Return what a file of the store says, checked; nothing where there is none."""
        directory, crc = open_directory(self.path), self._crcs.get(name)
        try:
            content = directory.read(name)
            if crc not in (None, zlib.crc32(content)):
                raise ValueError("it does not match its CRC-32")
            said = parse_json(content)
        except FileNotFoundError as error:
            if crc is None:
                return kind()
            raise DataError(f"{directory.name_of(name)} is missing; fetch the store again") from error
        except (OSError, ValueError) as error:
            raise DataError(
                f"{directory.name_of(name)} is damaged ({error}); fetch the store again"
            ) from error
        if not isinstance(said, kind):
            raise DataError(f"{directory.name_of(name)} is no {kind.__name__} of names; fetch it again")
        return said

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary that both sides were tokenised with."""
        return self.inputs.vocabulary()

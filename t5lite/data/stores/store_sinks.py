"""Where batches of texts or pairs go: they are encoded and written to a store, shuffled if asked for."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.data.document_shuffle import DocumentShuffle
from t5lite.data.stores.pair_store import MAX_NAMED_TARGETS, PairStoreWriter
from t5lite.data.stores.target_texts import TargetTexts
from t5lite.data.stores.token_store import TokenStoreWriter
from t5lite.data.stores.unknown_tokens import UnknownTokens, lost_characters, unknown_of_each
from t5lite.data.vocabulary import Vocabulary

_MAX_NAME_CHARACTERS = 1000
"""Targets that are longer name no class: ten thousand of them would fill the memory."""

Complete = Callable[[Sequence[tuple[str, str]], Vocabulary, int | None], Sequence[tuple[str, str]]]
"""From pairs, the vocabulary and its number of threads to the pairs that are written, as many."""


@dataclass(frozen=True)
class StoreCounts:
    """What went into a store."""

    examples: int
    """Documents or pairs written."""

    tokens: int
    """Tokens written, of both sides for pairs."""

    dropped_empty: int
    """Documents or pairs left out because a text had no tokens."""

    unknown: Mapping[str, UnknownTokens]
    """Unknown tokens of the ``documents``, or of the ``inputs`` and the ``targets``."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it by name."""
        return asdict(self) | {"unknown": {name: each.to_json() for name, each in self.unknown.items()}}


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of each of the texts, or pairs, of a batch, and how many of them are unknown: int64 [texts]."""

    tokens: np.ndarray
    unknown: np.ndarray


class TextSink:
    """Encodes batches of texts into a token store."""

    def __init__(
        self,
        writer: TokenStoreWriter,
        vocabulary: Vocabulary,
        num_threads: int | None,
        shuffle: DocumentShuffle | None = None,
    ):
        self._writer, self._vocabulary, self._num_threads = writer, vocabulary, num_threads
        self._shuffle = shuffle
        self._dropped = 0

    @classmethod
    def enter(
        cls,
        stack: ExitStack,
        path: Path,
        *,
        vocabulary: Vocabulary,
        num_threads: int | None,
        shuffle: Callable[[Path], DocumentShuffle] | None,
    ) -> "TextSink":
        """Open a store at ``path`` until ``stack`` closes; ``shuffle`` takes a directory to spill to."""
        writer = stack.enter_context(TokenStoreWriter(path, vocabulary=vocabulary))
        if shuffle is None:
            return cls(writer, vocabulary, num_threads)
        spill = path.with_name(f".{path.name}.shuffle")
        stack.callback(shutil.rmtree, spill, ignore_errors=True)
        return cls(writer, vocabulary, num_threads, shuffle(spill))

    def add(self, texts: list[str]) -> TokenCounts:
        """Encode ``texts``; those without tokens are counted and left out."""
        encoded = self._vocabulary.encode_batch(texts, self._num_threads)
        kept = [(text, tokens) for text, tokens in zip(texts, encoded, strict=True) if len(tokens)]
        self._dropped += len(encoded) - len(kept)
        documents = [tokens for _, tokens in kept]
        self._writer.count_lost(lost_characters([text for text, _ in kept], self._vocabulary))
        if self._shuffle is None:
            self._writer.add_batch(documents)
        else:
            self._shuffle.add_batch([text for text, _ in kept], documents)
        return _counts(encoded, self._vocabulary)

    def finish(self) -> None:
        """Write what the shuffle holds back."""
        for documents in self._shuffle.drain() if self._shuffle else ():
            self._writer.add_batch(documents)

    @property
    def counts(self) -> StoreCounts:
        """What was written so far."""
        unknown = {"documents": self._writer.unknown}
        return StoreCounts(self._writer.num_documents, self._writer.num_tokens, self._dropped, unknown)


class PairSink:
    """Encodes batches of (inputs, targets) into a pair store."""

    def __init__(
        self,
        writer: PairStoreWriter,
        vocabulary: Vocabulary,
        num_threads: int | None,
        targets: TargetTexts,
        complete: Complete | None = None,
        labels_of: Callable[[Any], str] | None = None,
    ):
        self._writer, self._vocabulary, self._num_threads = writer, vocabulary, num_threads
        self._targets, self._complete, self._labels_of = targets, complete, labels_of
        self._dropped = 0
        self._names: dict[bytes, str] = {}

    @classmethod
    def enter(
        cls,
        stack: ExitStack,
        path: Path,
        *,
        vocabulary: Vocabulary,
        num_threads: int | None,
        targets: TargetTexts,
        complete: Complete | None = None,
        labels_of: Callable[[Any], str] | None = None,
    ) -> "PairSink":
        """Open a store at ``path`` until ``stack`` closes.

        ``targets`` takes those of all the stores; ``complete`` makes pairs of what is added, where the
        vocabulary has a say; ``labels_of`` returns what heads learn of what is added, in JSON.
        """
        has_labels = labels_of is not None
        writer = stack.enter_context(PairStoreWriter(path, vocabulary=vocabulary, has_labels=has_labels))
        return cls(writer, vocabulary, num_threads, targets, complete, labels_of)

    def add(self, given: Sequence[Any]) -> TokenCounts:
        """Encode pairs, of inputs and targets first; those with a side without tokens are left out.

        What else a pair has under ``other_targets`` is as right as its target.
        """
        pairs: Sequence[tuple[str, str]] = given
        others = [getattr(pair, "other_targets", ()) for pair in pairs]
        if self._complete is not None:
            pairs = self._complete(pairs, self._vocabulary, self._num_threads)
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        inputs, targets = (self._vocabulary.encode_batch(texts, self._num_threads) for texts in sides)
        kept = [row for row in range(len(pairs)) if len(inputs[row]) and len(targets[row])]
        for row in kept:
            target = pairs[row][1]
            if len(self._names) <= MAX_NAMED_TARGETS and len(target) <= _MAX_NAME_CHARACTERS:
                self._names.setdefault(targets[row].tobytes(), target)
        for number, row in enumerate(kept, self._writer.num_pairs):
            if others[row]:
                self._writer.other_targets[number] = list(others[row])
        self._dropped += len(pairs) - len(kept)
        self._targets.add([pairs[row][1] for row in kept], [targets[row] for row in kept])
        self._writer.add_batch((inputs[row], targets[row]) for row in kept)
        kept_texts = ([pairs[row][side] for row in kept] for side in (0, 1))
        self._writer.count_lost(*(lost_characters(texts, self._vocabulary) for texts in kept_texts))
        if self._labels_of is not None:
            self._writer.add_labels(self._labels_of(given[row]) for row in kept)
        of_inputs, of_targets = (_counts(encoded, self._vocabulary) for encoded in (inputs, targets))
        return TokenCounts(of_inputs.tokens + of_targets.tokens, of_inputs.unknown + of_targets.unknown)

    def finish(self) -> None:
        """Have the store name its targets, where they repeat as classes do, and those that look alike.

        Raises:
          DataError: if the targets are classes, and some cannot be told apart.
        """
        if self._labels_of is None:  # else heads have the targets as they were given
            self._targets.check_classes()
        self._writer.collapsed_targets = self._targets.collapsed
        if 2 * len(self._names) <= self._writer.num_pairs and len(self._names) <= MAX_NAMED_TARGETS:
            self._writer.target_names = tuple(self._names.values())

    @property
    def counts(self) -> StoreCounts:
        """What was written so far."""
        tokens = sum(self._writer.num_tokens)
        return StoreCounts(self._writer.num_pairs, tokens, self._dropped, self._writer.unknown)


def _counts(encoded: list[np.ndarray], vocabulary: Vocabulary) -> TokenCounts:
    tokens = np.array([len(each) for each in encoded], np.int64)
    return TokenCounts(tokens, unknown_of_each(encoded, vocabulary.unk_id))

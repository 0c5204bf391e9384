"""The classes of classification pairs: their distinct targets, numbered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.stores.pair_store import MAX_NAMED_TARGETS, PairStore
from t5lite.data.stores.target_texts import indistinguishable
from t5lite.data.vocabulary import Vocabulary

MAX_CLASSES = MAX_NAMED_TARGETS
"""Distinct targets above which pairs are no classification."""

_BLOCK = 1 << 16
"""Documents that are read at once."""
_MAX_LISTED = 8


@dataclass(frozen=True)
class LabelClasses:
    """Class ``i`` has the target text ``texts[i]``; the numbers follow the order of the texts.

    A run keeps its classes (``classes.json``): their numbers must not change with the store.
    """

    texts: tuple[str, ...]
    """Each target as it was given, or decoded where the store does not say."""
    tokens: tuple[tuple[int, ...], ...]
    """The same as it is stored, which is what tells classes apart."""

    @property
    def told_apart(self) -> bool:
        """Whether no two classes are the same tokens, as "US" and "us" are to an uncased vocabulary."""
        return len(set(self.tokens)) == len(self.tokens)

    def labels(self, pairs: PairStore) -> np.ndarray:
        """Return the class of every pair, int32 [num_pairs].

        Raises:
          DataError: listing targets that are none of the classes, or if two classes are the same tokens.
        """
        if not self.told_apart:
            raise DataError(
                f"of the classes {listed(self.texts)} some are the same tokens to this vocabulary, so that "
                f"the targets of {pairs.path} do not say which is meant; name the classes otherwise"
            )
        numbers = {_key(np.array(tokens)): number for number, tokens in enumerate(self.tokens)}
        unknown: dict[bytes, None] = {}
        labels = np.full(pairs.num_pairs, -1, np.int32)
        for pair, key in enumerate(_target_keys(pairs)):
            labels[pair] = numbers.get(key, -1)
            if labels[pair] < 0 and len(unknown) < _MAX_LISTED:
                unknown[key] = None
        if unknown:
            vocabulary = pairs.vocabulary()
            raise DataError(
                f"{(labels < 0).sum():,} pairs of {pairs.path} have a target that no training pair had, "
                f"such as {listed([vocabulary.decode(_tokens(key)) for key in unknown])}; the classes are "
                f"{listed(self.texts)}; train on pairs of every class, or leave those pairs out"
            )
        return labels


def find_classes(pairs: PairStore, vocabulary: Vocabulary) -> LabelClasses:
    """Return the distinct targets of a store in the order of their texts.

    Raises:
      DataError: if there are more than ``MAX_CLASSES`` or a single one, or texts that the vocabulary cannot
        tell apart.
    """
    check_told_apart(pairs)
    found: dict[bytes, None] = {}
    for key in _target_keys(pairs):
        found[key] = None
        if len(found) > MAX_CLASSES:
            raise DataError(
                f"{pairs.path} has more than {MAX_CLASSES:,} distinct targets, such as "
                f"{listed([vocabulary.decode(_tokens(key)) for key in list(found)[:3]])}; to classify, give "
                "pairs whose targets are names of classes"
            )
    if len(found) == 1:
        raise DataError(
            f"all {pairs.num_pairs:,} pairs of {pairs.path} have the target "
            f"{vocabulary.decode(_tokens(next(iter(found))))!r}; to classify, give pairs of two classes or "
            "more, and a vocabulary that tells them apart (--vocabulary bytes always does)"
        )
    names = {_key(vocabulary.encode(name)): name for name in pairs.target_names()}
    classes = sorted(
        (names.get(key) or vocabulary.decode(_tokens(key)), tuple(_tokens(key).tolist())) for key in found
    )
    return LabelClasses(tuple(text for text, _ in classes), tuple(tokens for _, tokens in classes))


def check_told_apart(pairs: PairStore) -> None:
    """Check that the vocabulary tells the targets apart, as far as the store says.

    Raises:
      DataError: naming those that it cannot.
    """
    if pairs.collapsed_targets:
        raise DataError(f"the vocabulary of {pairs.path} {indistinguishable(pairs.collapsed_targets)}")


def named_classes(names: Sequence[str], vocabulary: Vocabulary) -> LabelClasses:
    """Return classes that have names, in their order."""
    tokens = (tuple(vocabulary.encode(name).tolist()) for name in names)
    return LabelClasses(tuple(names), tuple(tokens))


def check_num_labels(classes: LabelClasses, num_labels: int, *, store: str) -> None:
    """Check that the model has an output for every class.

    Raises:
      DataError: naming the classes and the number to set.
    """
    if len(classes.texts) > num_labels:
        raise DataError(
            f"{store} has {len(classes.texts):,} classes, {listed(classes.texts)}, but "
            f"model.num_labels={num_labels}; set model.num_labels={len(classes.texts)}"
        )


def _target_keys(pairs: PairStore) -> Iterator[bytes]:
    """Yield the key of every target in turn; a block is read at a time."""
    targets, start = pairs.targets, 0
    for first in range(0, targets.num_documents, _BLOCK):
        ends = targets.document_ends(first, min(first + _BLOCK, targets.num_documents))
        tokens = targets.tokens(start, int(ends[-1]))
        for begin, end in zip([start, *ends[:-1].tolist()], ends.tolist(), strict=True):
            yield _key(tokens[begin - start : end - start])
        start = int(ends[-1])


def _key(tokens: np.ndarray) -> bytes:
    return tokens.astype("<u4").tobytes()


def _tokens(key: bytes) -> np.ndarray:
    return np.frombuffer(key, "<u4").astype(np.int32)


def listed(texts: Sequence[str]) -> str:
    """Return the first texts, quoted, and how many more there are."""
    more = len(texts) - _MAX_LISTED
    shown = ", ".join(repr(text[:40]) for text in texts[:_MAX_LISTED])
    return f"{shown} and {more:,} more" if more > 0 else shown

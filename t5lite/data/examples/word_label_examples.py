"""Examples for fine-tuning an encoder to tag words: the class of each word stands at its first token."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.examples.encoder_data import EncoderDataConfig
from t5lite.data.examples.framed_inputs import NUM_FRAMING, Described, framed_rows
from t5lite.data.examples.label_classes import LabelClasses, listed, named_classes
from t5lite.data.examples.protocol import AnsweredExamples
from t5lite.data.opening import Opening
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens

OUTSIDE = "O"
"""The tag of a word of which the model sees nothing."""
_BEFORE = "a"
"""Any word: what the tokens of a word are that follows one, no space at the beginning of a text tells."""


@dataclass(frozen=True, kw_only=True)
class WordLabelsDataConfig(EncoderDataConfig):
    """Rows of words with a tag each, such as ``t5lite prepare task --task ner-tags`` makes."""

    head: ClassVar[str] = "token_classification"
    label_fields: ClassVar[frozenset[str]] = frozenset({"encoder_target_tokens", "encoder_loss_weights"})

    @property
    def kind(self) -> str:
        """Words with tags."""
        return "words with tags"

    def classifies(self, architecture: str) -> bool:
        """Whether there are classes: the tags."""
        del architecture
        return True

    def open_examples(self, opening: Opening) -> "WordLabelExamples":
        """Return the rows."""
        return WordLabelExamples(self, opening)


class WordLabelExamples(AnsweredExamples):
    """Row ``i`` is usable row ``i`` of the store: [CLS] its words [SEP] and padding.

    Each word is cut into tokens by itself, as after a space. The class of its tag stands at the first of
    them, and nothing else counts (as transformers' ``run_ner``). Words that do not fit are not learned; to a
    prediction they are outside of everything.

    Raises:
      DataError: if no row is usable, has not as many tags as words, or a tag that training had not.
      ConfigError: if the vocabulary has nothing to frame the words with.
    """

    def __init__(self, config: WordLabelsDataConfig, opening: Opening):
        self.spec = config.batch_spec(opening.architecture or "encoder_only")
        store = PairStore.open(
            config.store, opening.vocabulary_fingerprint, tolerate_damage=opening.tolerates_damage
        )
        self.vocabulary = store.vocabulary()
        self._special, self._length = special_tokens(self.vocabulary), self.spec.encoder_length
        rows = _rows(store)
        tags = sorted({tag for row in rows for tag in row["tags"]})
        self.classes = named_classes(tags, self.vocabulary) if opening.classes is None else opening.classes
        self._numbers = _numbers(self.classes, tags, store)
        self._tokens = word_tokens((word for row in rows for word in row["words"]), self.vocabulary)
        room = self._length - NUM_FRAMING
        is_overlong = [sum(len(self._tokens[word]) for word in row["words"]) > room for row in rows]
        drops = config.drops_overlong
        kept = [not (drops and overlong) for overlong in is_overlong]
        self._rows = [row for row, keep in zip(rows, kept, strict=True) if keep]
        self._is_cut = [cut for cut, keep in zip(is_overlong, kept, strict=True) if keep]
        self.num_examples, self.max_epochs = len(self._rows), config.max_epochs
        if not self._rows:
            raise DataError(
                f"none of the {len(rows)} rows of {store.path} fits inputs_length={self._length}; raise it "
                "or pass overlong=truncate"
            )
        starts = [self._starts(row["words"]) for row in self._rows]
        tokens = sum(min(sum(len(self._tokens[word]) for word in row["words"]), room) for row in self._rows)
        self.report: dict[str, float] = {
            "pairs": len(rows),
            "examples": self.num_examples,
            "truncated": sum(self._is_cut),
            "dropped": len(rows) - self.num_examples,
            "density": (tokens + NUM_FRAMING * self.num_examples) / (self.num_examples * self._length),
            "words": sum(map(len, starts)),
            "words_unseen": int(sum((row < 0).sum() for row in starts)),
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        rows = [self._rows[index] for index in indices.tolist()]
        documents = [np.concatenate([self._tokens[word] for word in row["words"]]) for row in rows]
        tokens_BM, segment_ids_BM = framed_rows(documents, self._special, length=self._length)
        targets_BM, weights_BM = np.zeros_like(tokens_BM), np.zeros(tokens_BM.shape, np.float32)
        for number, row in enumerate(rows):
            starts = self._starts(row["words"])
            seen = starts >= 0
            labels = np.array([self._numbers[tag] for tag in row["tags"]], np.int32)
            targets_BM[number, starts[seen]], weights_BM[number, starts[seen]] = labels[seen], 1
        return {
            "encoder_input_tokens": tokens_BM,
            "encoder_segment_ids": segment_ids_BM,
            "encoder_target_tokens": targets_BM,
            "encoder_loss_weights": weights_BM,
        }

    def described(self, index: int) -> Described:
        """Return the words and their tags, with spaces between them."""
        row = self._rows[index]
        return Described(" ".join(row["words"]), " ".join(row["tags"]), self._is_cut[index])

    def predictions(self, found: Iterable[tuple[int, Mapping[str, np.ndarray]]]) -> Iterator[tuple[int, str]]:
        """Yield the most probable tag of each word of a row, with spaces between them."""
        assert self.classes is not None
        tags = self.classes.texts
        for index, outputs in found:
            best_M = outputs["labels"][:, : len(tags)].argmax(axis=-1)
            starts = self._starts(self._rows[index]["words"]).tolist()
            yield index, " ".join(tags[best_M[start]] if start >= 0 else OUTSIDE for start in starts)

    def _starts(self, words: Sequence[str]) -> np.ndarray:
        """Return where in its row each word begins; -1 where it does not."""
        lengths = np.array([len(self._tokens[word]) for word in words])
        starts = 1 + np.cumsum(lengths) - lengths  # behind [CLS]
        return np.where((lengths > 0) & (starts < self._length - 1), starts, -1)


def word_tokens(words: Iterable[str], vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Return the tokens of each distinct word as they are after a space, int32."""
    distinct = list(dict.fromkeys(words))
    num_before = len(vocabulary.encode(_BEFORE))
    encoded = vocabulary.encode_batch([f"{_BEFORE} {word}" for word in distinct])
    return {word: tokens[num_before:] for word, tokens in zip(distinct, encoded, strict=True)}


def _rows(store: PairStore) -> list[dict[str, list[str]]]:
    """Return words and tags of each row.

    Raises:
      DataError: if the store does not keep them, or a row has not as many of one as of the other.
    """
    rows = store.labels(wanted=("words", "tags"))
    if rows is None:
        raise DataError(
            f"{store.path} keeps no words and tags; prepare rows of them for a task that does: t5lite "
            "prepare task --task ner-tags"
        )
    uneven = [number for number, row in enumerate(rows) if len(row["words"]) != len(row["tags"])]
    if uneven:
        row = rows[uneven[0]]
        raise DataError(
            f"{len(uneven):,} of {len(rows):,} rows of {store.path} have not one tag a word, such as row "
            f"{uneven[0]}, {' '.join(row['words'])[:60]!r}: {len(row['words'])} words, {len(row['tags'])} "
            "tags; correct or leave out such rows and prepare them again"
        )
    return rows


def _numbers(classes: LabelClasses, tags: Sequence[str], store: PairStore) -> dict[str, int]:
    numbers = {tag: number for number, tag in enumerate(classes.texts)}
    if unknown := [tag for tag in tags if tag not in numbers]:
        raise DataError(
            f"{store.path} has tags that no training row had: {listed(unknown)}; the classes are "
            f"{listed(classes.texts)}; train on rows with every tag, or leave those rows out"
        )
    return numbers

"""Examples for fine-tuning an encoder to make vectors of texts: a pair a row, maybe with a hard negative."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import DataError
from t5lite.data.examples.encoder_data import EncoderDataConfig
from t5lite.data.examples.framed_inputs import NUM_FRAMING, Described, framed_rows
from t5lite.data.examples.protocol import TextPairs
from t5lite.data.examples.scored_pairs import SIMILARITY, are_scored, check_trained_on
from t5lite.data.opening import Opening
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens

_BLOCK = 1 << 14
"""Documents that are read at once."""


@dataclass(frozen=True, kw_only=True)
class TextPairsDataConfig(EncoderDataConfig):
    """Pairs of texts that belong together, such as a question and the passage that answers it."""

    inputs_length: int = 64
    """Tokens of a text, [CLS] and [SEP] included; a row has room for each text of a pair."""

    hard_negatives: bool = False
    """Whether each pair has a text that is like its positive and is wrong, as `--task triplets` keeps it."""

    head: ClassVar[str] = "sentence_embedding"
    label_fields: ClassVar[frozenset[str]] = frozenset({"text_numbers"})

    @property
    def kind(self) -> str:
        """Pairs of texts."""
        return "pairs of texts"

    @property
    def num_texts(self) -> int:
        """Texts of a row."""
        return 3 if self.hard_negatives else 2

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields, with numbers of hard negatives where there are any."""
        spec = super().batch_spec(architecture)
        numbers = frozenset({"negative_numbers"} if self.hard_negatives else ())
        return BatchSpec(fields=spec.fields | numbers, encoder_length=spec.encoder_length)

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return the encoder's length, of all texts of a row; errors as of ``SourceConfig``."""
        length, _ = super().lengths(architecture)
        return length * self.num_texts, 0

    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return the length of a text without what frames it, of both sides."""
        del architecture, vocabulary
        return dict.fromkeys(("inputs", "targets"), self.inputs_length - NUM_FRAMING)

    def open_examples(self, opening: Opening) -> "TextPairExamples":
        """Return the pairs; those that are scored have no negatives."""
        store = PairStore.open(
            self.store, opening.vocabulary_fingerprint, tolerate_damage=opening.tolerates_damage
        )
        if opening.shuffle:
            check_trained_on(store)
        config = dataclasses.replace(self, hard_negatives=False) if are_scored(store) else self
        return TextPairExamples(config, opening, store)


class TextPairExamples(TextPairs):
    """Row ``i`` is usable pair ``i``: [CLS] anchor [SEP] and padding, its positive, and its hard negative.

    Each text is a segment, from 1, so that it sees itself alone and its positions begin at 0.

    Raises:
      DataError: if there are no two usable pairs, or no hard negatives where there should be.
      ConfigError: if the vocabulary has nothing to frame a text with.
    """

    def __init__(self, config: TextPairsDataConfig, opening: Opening, store: PairStore):
        self.spec = config.batch_spec(opening.architecture or "encoder_only")
        self.vocabulary, self._length = store.vocabulary(), config.inputs_length
        self._special, self._store = special_tokens(self.vocabulary), store
        self._negatives = self._tokens_of_negatives(config)
        lengths_TN = [store.inputs.document_lengths, store.targets.document_lengths]
        if self._negatives is not None:
            lengths_TN.append(np.array([len(each) for each in self._negatives]))
        lengths_NT = np.stack(lengths_TN, axis=1) + NUM_FRAMING
        is_overlong_NT = lengths_NT > self._length
        self._is_cut_NT = is_overlong_NT
        kept_N = ~is_overlong_NT.any(axis=1) if config.drops_overlong else np.ones(store.num_pairs, bool)
        self._usable = np.flatnonzero(kept_N)
        self.num_examples, self.max_epochs = len(self._usable), config.max_epochs
        if self.num_examples < 2:
            raise DataError(
                f"{self.num_examples} of {store.num_pairs:,} pairs of {store.path} fit inputs_length="
                f"{self._length}; a text is told apart from those of other pairs, so give two or more, raise "
                "it, or pass overlong=truncate"
            )
        negatives = () if self._negatives is None else (self._negatives,)
        columns = _documents(store.inputs), _documents(store.targets), *negatives
        self._numbers_NT = text_numbers(columns, room=self._length - NUM_FRAMING)[self._usable]
        self.numbers_N2 = self._numbers_NT[:, :2]
        if are_scored(store) and (rows := store.labels(wanted=(SIMILARITY,))) is not None:
            self.similarities_N = np.array([row[SIMILARITY] for row in rows], np.float64)[self._usable]
        self.report: dict[str, float] = {
            "pairs": store.num_pairs,
            "examples": self.num_examples,
            "truncated": int(is_overlong_NT[self._usable].any(axis=1).sum()),
            "dropped": store.num_pairs - self.num_examples,
            "density": float(np.minimum(lengths_NT[self._usable], self._length).mean() / self._length),
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        pairs = self._usable[indices]
        texts = [self._store.inputs.documents(pairs), self._store.targets.documents(pairs)]
        if self._negatives is not None:
            texts.append([self._negatives[pair] for pair in pairs])
        rows = [framed_rows(documents, self._special, length=self._length) for documents in texts]
        fields = {
            "encoder_input_tokens": np.concatenate([tokens_BM for tokens_BM, _ in rows], axis=1),
            "encoder_segment_ids": np.concatenate(
                [number * segment_ids_BM for number, (_, segment_ids_BM) in enumerate(rows, 1)], axis=1
            ),
            "text_numbers": self.numbers_N2[indices],
        }
        if self._negatives is not None:
            fields["negative_numbers"] = self._numbers_NT[indices, 2]
        return fields

    def described(self, index: int) -> Described:
        """Return the texts of an example, decoded."""
        pair = int(self._usable[index])
        anchor, positive = (
            self.vocabulary.decode(side.document(pair)) for side in (self._store.inputs, self._store.targets)
        )
        return Described(anchor, positive, bool(self._is_cut_NT[pair, :2].any()))

    def _tokens_of_negatives(self, config: TextPairsDataConfig) -> Sequence[np.ndarray] | None:
        if not config.hard_negatives:
            return None
        rows = self._store.labels(wanted=("negative",))
        if rows is None:
            raise DataError(
                f"{self._store.path} keeps no hard negatives; prepare rows that have them (t5lite prepare "
                "task --task triplets), or set data.hard_negatives=False"
            )
        return self.vocabulary.encode_batch([str(row["negative"]) for row in rows])


def text_numbers(columns: Iterable[Iterable[np.ndarray]], *, room: int) -> np.ndarray:
    """Return a number for each text of T columns, int32 [N, T]: the same for the same tokens, as cut.

    Args:
      columns: the tokens of the texts of each.
      room: tokens that a text is cut to.
    """
    known: dict[bytes, int] = {}

    def numbers(texts: Iterable[np.ndarray]) -> Iterator[int]:
        for text in texts:
            yield known.setdefault(text[:room].astype(np.int32).tobytes(), len(known))

    return np.stack([np.fromiter(numbers(texts), np.int32) for texts in columns], axis=1)


def _documents(texts: TokenStore) -> Iterator[np.ndarray]:
    """Yield all documents of a store."""
    for start in range(0, texts.num_documents, _BLOCK):
        yield from texts.documents(np.arange(start, min(start + _BLOCK, texts.num_documents)))

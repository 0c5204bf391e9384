"""Examples for fine-tuning an encoder to predict numbers: the inputs of a pair a row, its target a number."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.examples.encoder_data import EncoderDataConfig
from t5lite.data.examples.framed_inputs import Described, FramedInputs
from t5lite.data.examples.label_classes import listed
from t5lite.data.examples.protocol import AnsweredExamples
from t5lite.data.opening import Opening
from t5lite.data.stores.pair_store import PairStore

_MOST_DECIMALS = 6
"""Of a prediction: as many as float32 has."""


@dataclass(frozen=True, kw_only=True)
class NumbersDataConfig(EncoderDataConfig):
    """Pairs whose targets are numbers, such as how alike two sentences are."""

    head: ClassVar[str] = "sequence_regression"
    label_fields: ClassVar[frozenset[str]] = frozenset({"sequence_numbers"})

    @property
    def kind(self) -> str:
        """Pairs of a text and a number."""
        return "texts with numbers"

    def open_examples(self, opening: Opening) -> "NumberExamples":
        """Return the pairs."""
        return NumberExamples(self, opening)


class NumberExamples(AnsweredExamples):
    """Row ``i`` is usable pair ``i``: [CLS] inputs [SEP] and padding, with its target as a number.

    Raises:
      DataError: if no pair is usable, or a target is no finite number.
      ConfigError: if the vocabulary has nothing to frame the inputs with.
    """

    def __init__(self, config: NumbersDataConfig, opening: Opening):
        self.spec = config.batch_spec(opening.architecture or "encoder_only")
        store = PairStore.open(
            config.store, opening.vocabulary_fingerprint, tolerate_damage=opening.tolerates_damage
        )
        self._inputs = FramedInputs(store, length=self.spec.encoder_length, overlong=config.overlong)
        self.vocabulary, self.report = self._inputs.vocabulary, self._inputs.report
        self._numbers = numbers_of(store)[self._inputs.usable]
        self.max_epochs, self.num_examples = config.max_epochs, len(self._numbers)

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        return self._inputs.fields(indices) | {"sequence_numbers": self._numbers[indices]}

    def described(self, index: int) -> Described:
        """Return the text and its number."""
        return self._inputs.described(index)._replace(reference=written(self._numbers[index]))

    def predictions(self, found: Iterable[tuple[int, Mapping[str, np.ndarray]]]) -> Iterator[tuple[int, str]]:
        """Yield each number, written."""
        for index, outputs in found:
            yield index, written(outputs["sequence"][0])


def numbers_of(pairs: PairStore) -> np.ndarray:
    """Return the number that each target of a store is, float32 [num_pairs]: as its labels say, or as text.

    Raises:
      DataError: listing targets that are none, as far as the vocabulary can spell them.
    """
    if (labels := pairs.labels(wanted=("number",))) is not None:
        texts = [str(label["number"]) for label in labels]
    else:
        vocabulary = pairs.vocabulary()
        texts = [vocabulary.decode(pairs.targets.document(pair)) for pair in range(pairs.num_pairs)]
    numbers = np.array([_number(text) for text in texts], np.float32)
    if (bad := np.flatnonzero(~np.isfinite(numbers))).size:
        examples = listed(list(dict.fromkeys(texts[pair] for pair in bad)))
        raise DataError(
            f"{bad.size:,} of {pairs.num_pairs:,} targets of {pairs.path} are no finite numbers, such as "
            f"{examples}; to predict numbers, give pairs whose targets are such, prepared for a task that "
            "keeps them (--task regression), or with a vocabulary that spells digits"
        )
    return numbers


def written(number: float) -> str:
    """Return a number as predictions and references are written."""
    return f"{number:.{_MOST_DECIMALS + 1}g}"


def _number(text: str) -> float:
    """Return what a text says; a vocabulary may put spaces around a point or a sign."""
    try:
        return float("".join(text.split()))
    except ValueError:
        return math.nan

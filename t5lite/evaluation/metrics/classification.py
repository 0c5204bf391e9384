"""Scores of labels that are written as text: a label is the text without surrounding white space."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, SummedSample, mean_sample
from t5lite.evaluation.metrics.score import References, as_several, as_single
from t5lite.evaluation.metrics.sequence_labels import micro_f1_of_sums


@dataclass(frozen=True)
class LabelMean(CorpusMetric):
    """The mean of a score of each example's label: accuracy, and what it is read beside.

    Attributes:
      hits: from predicted labels and the references of each example to a truth value for each.
    """

    hits: Callable[[list[str], list[tuple[str, ...]]], list[bool]]

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        labels = [tuple(map(str.strip, each)) for each in as_several(references)]
        return mean_sample(self.hits([text.strip() for text in predictions], labels)), ""


def _is_reference(predictions: list[str], references: list[tuple[str, ...]]) -> list[bool]:
    return [text in wanted for text, wanted in zip(predictions, references, strict=True)]


def _majority_is_reference(predictions: list[str], references: list[tuple[str, ...]]) -> list[bool]:
    del predictions
    ((commonest, _),) = Counter(label for each in references for label in each).most_common(1)
    return [commonest in wanted for wanted in references]


def _is_label(predictions: list[str], references: list[tuple[str, ...]]) -> list[bool]:
    labels = {label for each in references for label in each}
    return [text in labels for text in predictions]


accuracy = LabelMean(_is_reference)
"""Share of predictions that are a reference of theirs."""
majority_accuracy = LabelMean(_majority_is_reference)
"""Accuracy of always answering the commonest reference: what ``accuracy`` must beat."""
label_fraction = LabelMean(_is_label)
"""Share of predictions that are one of the references' labels at all. Far below 1, a low accuracy is a matter
of form (the model does not answer with a label), not of telling the classes apart."""


@dataclass(frozen=True)
class LabelCounts:
    """How often each of K labels is there in each of B choices of examples, float64 [B, K].

    Attributes:
      hits_BK: predicted and right.
      predicted_BK: predicted.
      wanted_BK: references.
      num_wanted: how many labels, the first ones, are any reference at all.
    """

    hits_BK: np.ndarray
    predicted_BK: np.ndarray
    wanted_BK: np.ndarray
    num_wanted: int


@dataclass(frozen=True)
class _LabelSample:
    predicted_N: np.ndarray
    wanted_N: np.ndarray
    of_counts: Callable[[LabelCounts], np.ndarray]

    @property
    def num_examples(self) -> int:
        return len(self.wanted_N)

    def values(self, counts_BN: np.ndarray) -> np.ndarray:
        size = 1 + max(self.predicted_N.max(), self.wanted_N.max())
        is_hit = self.predicted_N == self.wanted_N

        def counted(labels_N: np.ndarray, weights_BN: np.ndarray) -> np.ndarray:
            return np.stack([np.bincount(labels_N, weights, minlength=size) for weights in weights_BN])

        return self.of_counts(
            LabelCounts(
                counted(self.wanted_N, counts_BN * is_hit),
                counted(self.predicted_N, counts_BN),
                counted(self.wanted_N, counts_BN),
                num_wanted=1 + int(self.wanted_N.max()),
            )
        )

    def of_each(self) -> None:
        """One label alone is no distribution of labels."""


class LabelMetric(CorpusMetric):
    """A metric of how often each label is predicted, wanted, and both; of one reference an example.

    What is predicted and is no reference's label is a label of its own: never right.
    """

    takes_several: ClassVar[bool] = False

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        wanted = [text.strip() for text in as_single(references, metric=type(self).__name__)]
        predicted = [text.strip() for text in predictions]
        numbers = {label: number for number, label in enumerate(dict.fromkeys([*wanted, *predicted]))}
        sample = _LabelSample(
            np.array([numbers[label] for label in predicted]),
            np.array([numbers[label] for label in wanted]),
            self._of_counts,
        )
        return sample, f"classes:{len(set(wanted))}"

    @abstractmethod
    def _of_counts(self, counts: LabelCounts) -> np.ndarray:
        """Return the metric of each choice of examples, [B]."""


class MacroF1(LabelMetric):
    """The mean over the references' labels of the F1 of each, as scikit-learn's with these as ``labels``."""

    def _of_counts(self, counts: LabelCounts) -> np.ndarray:
        is_wanted_BK = counts.wanted_BK > 0
        f1_BK = 2 * counts.hits_BK / np.maximum(counts.predicted_BK + counts.wanted_BK, 1)
        return (f1_BK * is_wanted_BK).sum(axis=1) / is_wanted_BK.sum(axis=1)


@dataclass(frozen=True)
class BinaryF1(CorpusMetric):
    """F1 of one class, as GLUE scores MRPC and QQP: scikit-learn's with this as ``pos_label``.

    Attributes:
      positive: the class; whatever else is predicted, a label or not, is not it.
    """

    positive: str
    takes_several: ClassVar[bool] = False

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        wanted_N = np.array([text.strip() == self.positive for text in as_single(references, metric="f1")])
        found_N = np.array([text.strip() == self.positive for text in predictions])
        statistics_NS = np.stack([found_N & wanted_N, found_N, wanted_N], axis=1).astype(np.float64)
        sample = SummedSample(statistics_NS, micro_f1_of_sums, of_one=False)
        return sample, f"positive:{self.positive}"


class MicroF1(LabelMetric):
    """F1 of all labels together: an answer that is no reference's label is missed, but nothing found wrongly.

    It is scikit-learn's with the references' labels as ``labels``; where every answer is one of them, it is
    the accuracy.
    """

    def _of_counts(self, counts: LabelCounts) -> np.ndarray:
        predicted_B = counts.predicted_BK[:, : counts.num_wanted].sum(axis=1)
        return 2 * counts.hits_BK.sum(axis=1) / (predicted_B + counts.wanted_BK.sum(axis=1))


class Matthews(LabelMetric):
    """Matthews' correlation of two or more classes (Gorodkin, 2004); 0 where one side has one class only."""

    def _of_counts(self, counts: LabelCounts) -> np.ndarray:
        total_B = counts.wanted_BK.sum(axis=1)
        covariance_B = counts.hits_BK.sum(axis=1) * total_B
        covariance_B -= (counts.predicted_BK * counts.wanted_BK).sum(axis=1)
        predicted_B, wanted_B = (
            total_B**2 - (each_BK**2).sum(axis=1) for each_BK in (counts.predicted_BK, counts.wanted_BK)
        )
        is_known_B = (predicted_B > 0) & (wanted_B > 0)
        # Roots apart: the product of two fourth powers of large counts would lose the last digits.
        scale_B = np.sqrt(np.where(is_known_B, predicted_B, 1)) * np.sqrt(np.where(is_known_B, wanted_B, 1))
        return np.where(is_known_B, covariance_B / scale_B, 0.0)


macro_f1 = MacroF1()
micro_f1 = MicroF1()
matthews = Matthews()

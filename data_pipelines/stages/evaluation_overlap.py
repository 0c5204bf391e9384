"""Drops documents that share a 13-gram with evaluation texts (Brown et al. 2020, appendix C)."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_pipelines.stages.stage import Dropped
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.data.reading.input_files import find_input_files
from t5lite.data.reading.text_files import read_texts

_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class EvaluationOverlap:
    """Drops what has ``n`` words in a row in common with the evaluation texts.

    Words are compared in lower case, without punctuation. GPT-3 cut out 200 characters around a match and
    kept the rest; here the document goes.
    """

    inputs: tuple[str, ...]
    """Files, folders or globs of the evaluation texts (a worker reads them once)."""

    field: str = "text"
    """Field or column that holds the text; unused for ``.txt``."""

    n: int = 13
    """Words in a row."""

    def __post_init__(self):
        expand_fields(self, "inputs")
        if self.n < 1:
            raise ConfigError(f"n={self.n} must be at least 1; GPT-3 used 13")

    def __call__(self, text: str) -> str | Dropped:
        """Return the text if it shares nothing."""
        known = _evaluation_hashes(self.inputs, self.field, self.n)
        hashes = ngram_hashes(text, self.n)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return Dropped(f"{self.n}-gram of an evaluation text") if (known[places] == hashes).any() else text


def ngram_hashes(text: str, n: int) -> np.ndarray:
    """Return a uint64 for each n-gram of words; the values mean nothing outside of this process."""
    words = _WORD.findall(text.lower())
    hashed = np.fromiter(map(hash, words), np.int64, len(words)).astype(np.uint64)
    length = max(len(words) - n + 1, 0)
    hashes = np.zeros(length, np.uint64)
    for offset in range(n if length else 0):
        hashes = (hashes ^ (hashes >> np.uint64(29))) * _FACTOR + hashed[offset : offset + length]
    return hashes


@functools.cache
def _evaluation_hashes(inputs: tuple[str, ...], field: str, n: int) -> np.ndarray:
    texts: Iterable[str] = read_texts(find_input_files(inputs).paths, field=field, on_invalid_utf8="replace")
    hashes = np.unique(np.concatenate([ngram_hashes(text, n) for text in texts]))
    if not len(hashes):
        raise ConfigError(f"no text of {', '.join(inputs)} has {n} words; give longer texts or a smaller n")
    return hashes

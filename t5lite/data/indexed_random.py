"""Random bits that depend on (key, index) alone, so that any example can be drawn without the ones before."""

from typing import Literal

import numpy as np

Purpose = Literal["shuffle", "noise", "evaluation"]
_PURPOSES: dict[Purpose, int] = {"shuffle": 1, "noise": 2, "evaluation": 3}


def derive_key(seed: int, purpose: Purpose) -> np.ndarray:
    """Return a 128-bit key, uint64 [2], for one purpose of one seed.

    Keys are hashed, so neighbouring seeds share nothing (Grain's shuffle, for one, seeds epoch ``e`` with
    ``seed + e``).
    """
    return np.random.SeedSequence([seed, _PURPOSES[purpose]]).generate_state(2, np.uint64)


def random_bits(key: np.ndarray, indices: np.ndarray, num_words: int) -> np.ndarray:
    """Return uint64 [len(indices), num_words]: row ``i`` depends on ``(key, indices[i])`` only.

    The stream is raw Philox with the index as the upper counter word, which NumPy keeps stable across
    versions.
    """
    rows = np.empty((len(indices), num_words), np.uint64)
    counter = np.zeros(4, np.uint64)
    for row, index in enumerate(indices):
        counter[3] = index
        rows[row] = np.random.Philox(key=key, counter=counter).random_raw(num_words)
    return rows

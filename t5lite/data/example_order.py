"""In which order the examples of a source come: another permutation each epoch, any place of it at once.

The permutation is that of Grain's ``MapDataset.range(n).shuffle(seed).repeat()``, computed for many places
by NumPy where Grain takes one at a time: a Simon block cipher of four rounds over the smallest even number
of bits that holds every index, applied again to whatever falls beyond the last one (cycle walking), with
round keys of ``std::seed_seq``. So a place costs the same wherever it lies, and nothing is kept.

Deviation: of exactly ``4**k + 1`` examples (65,537, 262,145, …) Grain's block is too small for the last
one, which never comes, in place of which another comes twice; here it has room.
"""

import numpy as np

_MIN_BLOCK_BITS = 16
"""Smaller blocks show patterns."""
_ROUNDS = 4
_WORD = 1 << 32
_BLOCK = 4096
_KEPT_BLOCKS = 4


class ExampleOrder:
    """The endless order of ``num_examples`` examples.

    Places are permuted by the block of neighbours, which costs hardly more than one of them; the newest
    blocks are kept, for the next batch asks for the next places.

    Args:
      num_examples: in an epoch, at least 1.
      seed: of the shuffle, below 2**32; epoch ``e`` is shuffled by ``seed + e``. None leaves the order.
    """

    def __init__(self, num_examples: int, seed: int | None):
        self.num_examples, self._seed = num_examples, seed
        self._blocks: dict[int, np.ndarray] = {}

    def indices(self, places: np.ndarray) -> np.ndarray:
        """Return int64 [places]: the example at each of ``places``, which count from 0 over all epochs."""
        if self._seed is None:
            return places % self.num_examples
        numbers, offsets = np.divmod(places, _BLOCK)
        indices = np.empty_like(places)
        for number in np.unique(numbers).tolist():
            inside = numbers == number
            indices[inside] = self._block(number, self._seed)[offsets[inside]]
        return indices

    def _block(self, number: int, seed: int) -> np.ndarray:
        block = self._blocks.get(number)
        if block is None:
            epochs, places = np.divmod(number * _BLOCK + np.arange(_BLOCK), self.num_examples)
            block = permuted(places, num_items=self.num_examples, seeds=(seed + epochs) % _WORD)
            while len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[number] = block
        return block


def permuted(indices: np.ndarray, *, num_items: int, seeds: np.ndarray) -> np.ndarray:
    """Return int64: where the permutation of ``range(num_items)`` of each index's own seed takes it."""
    if num_items == 1:
        return np.zeros_like(indices)
    bits = max((num_items - 1).bit_length(), _MIN_BLOCK_BITS)
    half = np.uint64((bits + 1) // 2)
    distinct, which = np.unique(seeds, return_inverse=True)
    keys = np.array([_seed_sequence(seed) for seed in distinct.tolist()], np.uint64).T[:, which]
    keys &= np.uint64((1 << int(half)) - 1)
    values = _encrypt(indices.astype(np.uint64), half, keys)
    while (beyond := np.flatnonzero(values >= num_items)).size:
        values[beyond] = _encrypt(values[beyond], half, keys[:, beyond])
    return values.astype(np.int64)


def _encrypt(values: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    """Apply the cipher to blocks of two words of ``half`` bits each, with round keys [rounds, values]."""
    mask = np.uint64((1 << int(half)) - 1)
    left, right = values >> half, values & mask

    def rotated(words: np.ndarray, count: int) -> np.ndarray:
        places = np.uint64(count)
        return (words << places) & mask | words >> (half - places)

    for key in keys:
        left ^= (rotated(right, 1) & rotated(right, 8)) ^ rotated(right, 2) ^ key
        left, right = right, left
    # The words change places after every round, hence an even number of times: they are where they belong.
    return left << half | right


def _seed_sequence(seed: int) -> list[int]:
    """Return the first ``_ROUNDS`` words of C++'s ``std::seed_seq{seed}`` (ISO C++, [rand.util.seedseq])."""
    words, size = [0x8B8B8B8B] * _ROUNDS, _ROUNDS

    def mixed(value: int, factor: int) -> int:
        value %= _WORD
        return factor * (value ^ value >> 27) % _WORD

    for k in range(size):
        first = mixed(words[k] ^ words[(k + 1) % size] ^ words[k - 1], 1664525)
        second = (first + (1 if k == 0 else k + seed if k == 1 else k)) % _WORD
        words[(k + 1) % size] = (words[(k + 1) % size] + first) % _WORD
        words[(k + 2) % size] = (words[(k + 2) % size] + second) % _WORD
        words[k] = second
    for k in range(size):
        first = mixed(words[k] + words[(k + 1) % size] + words[k - 1], 1566083941)
        second = (first - k) % _WORD
        words[(k + 1) % size] ^= first
        words[(k + 2) % size] ^= second
        words[k] = second
    return words


def evaluation_indices(num_examples: int, max_examples: int | None) -> np.ndarray:
    """Return which examples an evaluation limited to ``max_examples`` uses: evenly spread, in mixed order.

    The first so many would all come from the first file of the corpus. The order is mixed (always the same)
    because encoder use swaps neighbours: next to each other in one book, or of one class, they would be
    too alike to tell whether the encoder is read.
    """
    count = min(num_examples, max_examples or num_examples)
    return np.random.default_rng(0).permutation(np.arange(count) * num_examples // count)

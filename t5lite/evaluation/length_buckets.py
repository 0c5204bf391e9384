"""Which inputs are decoded together, and to which length they are padded.

A program is compiled for every length, so there are few; padding is computed in vain, so it is little.
"""

from collections.abc import Sequence
from typing import NamedTuple

_SHORTEST = 16
UNBOUNDED = 1 << 30
"""As ``most`` of a model whose positions do not end."""


class Bucket(NamedTuple):
    """Inputs of one batch."""

    length: int
    """Of its rows, padding included."""
    numbers: tuple[int, ...]
    """Which inputs, the shortest first."""


def padded_length(length: int, most: int) -> int:
    """Return the length for ``length`` tokens: a power of two, or half as much again, or ``most``."""
    for power in range(_SHORTEST.bit_length() - 1, most.bit_length()):
        for candidate in (1 << power, 3 << (power - 1)):
            if length <= candidate < most:
                return candidate
    return most


def buckets(lengths: Sequence[int], *, batch_size: int, most: int) -> list[Bucket]:
    """Return batches of inputs of like length.

    Args:
      lengths: of the inputs, none greater than ``most``.
      batch_size: inputs of a batch; the last one may have fewer.
      most: tokens of the longest row there may be.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [Bucket(padded_length(lengths[batch[-1]], most), tuple(batch)) for batch in batches]

"""Examples that a training leaves out for good: ranges of places in the endless stream of examples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_KEY = "left_out"


@dataclass(frozen=True)
class LeftOut:
    """Gaps in the stream, which closes up behind them.

    A *position* counts the examples that are seen, a *place* all that there are: with ``[2, 5)`` left out,
    positions 0, 1, 2, 3 are at places 0, 1, 5, 6. So what was seen before a gap keeps its position.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    """First place and the one after the last; ascending, apart from each other."""

    @staticmethod
    def of(ranges: Iterable[tuple[int, int]]) -> "LeftOut":
        """Return what any of ``ranges`` leaves out, whether they overlap or not."""
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(stop, merged[-1][1])
            elif start < stop:
                merged.append((start, stop))
        return LeftOut(tuple(merged))

    def places(self, positions: np.ndarray) -> np.ndarray:
        """Return the places of positions."""
        for start, stop in self.ranges:
            positions = np.where(positions >= start, positions + (stop - start), positions)
        return positions

    def place(self, position: int) -> int:
        """Return the place of one position."""
        return int(self.places(np.asarray(position)))

    def num_before(self, place: int) -> int:
        """Return how many examples are left out before a place."""
        return sum(max(min(stop, place) - start, 0) for start, stop in self.ranges)

    @property
    def num_examples(self) -> int:
        """How many are left out."""
        return sum(stop - start for start, stop in self.ranges)

    def to_json(self) -> dict[str, list[list[int]]]:
        """Return what a checkpoint's metadata says of it."""
        return {_KEY: [list(each) for each in self.ranges]}

    @staticmethod
    def from_json(metadata: Mapping[str, Any]) -> "LeftOut":
        """Return what ``to_json`` said among ``metadata``; nothing is left out where it says nothing.

        Raises:
          ValueError: if it says anything else.
        """
        ranges = metadata.get(_KEY, [])
        try:
            pairs = [(start, stop) for start, stop in ranges]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{_KEY} is {ranges!r}, no list of ranges") from error
        if not all(type(start) is type(stop) is int and 0 <= start < stop for start, stop in pairs):
            raise ValueError(f"{_KEY} is {ranges!r}, no list of ranges")
        return LeftOut.of(pairs)

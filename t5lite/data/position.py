"""Where a run stands in its data: how many examples it has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEY = "examples_seen"


@dataclass(frozen=True, order=True)
class DataPosition:
    """A position in the endless stream of examples without what is left out of it (``data.left_out``).

    The global batch that comes next is rows ``examples_seen + arange(batch_size)`` of that, whatever
    the sizes of the batches before it, and whatever number of hosts, devices or microbatches shared them.
    """

    examples_seen: int = 0
    """A Python integer: what devices count in 32 bits would overflow at 2**31 examples."""

    def __post_init__(self) -> None:
        if self.examples_seen < 0:
            raise ValueError(f"{self.examples_seen} examples cannot have been seen")

    def after(self, num_steps: int, *, batch_size: int) -> "DataPosition":
        """Return the position ``num_steps`` steps of ``batch_size`` examples further on."""
        return DataPosition(self.examples_seen + num_steps * batch_size)

    def to_json(self) -> dict[str, int]:
        """Return what a checkpoint's metadata says of it."""
        return {_KEY: self.examples_seen}

    @staticmethod
    def from_json(metadata: Mapping[str, Any]) -> "DataPosition | None":
        """Return what ``to_json`` said among ``metadata``; None where nothing does.

        Raises:
          ValueError: if it is no number of examples.
        """
        if _KEY not in metadata:
            return None
        value = metadata[_KEY]
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{_KEY} is {value!r}, not a number of examples")
        return DataPosition(value)

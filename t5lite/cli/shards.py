"""Shards of a command's inputs: each process takes a block of them and writes a file of its own.

Blocks are of neighbours, so that shards joined in the order of their names are in the order of the inputs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import StoragePath

_MOST = 99_999
"""Shards, whose files sort by their names."""


@dataclass(frozen=True)
class Shard:
    """One of ``count`` blocks that the inputs are divided into; they differ by one input at most.

    Attributes:
      number: of it, from 1.
      count: of all.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that ``--shard I/N`` names.

        Raises:
          ConfigError: if there is no such shard.
        """
        found = re.fullmatch(r"0*([0-9]{1,9})/0*([0-9]{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= _MOST:
            raise ConfigError(
                f"--shard {text} must be I/N: shard I of N, both whole numbers, I from 1 to N and N at most "
                f"{_MOST:,}, such as 1/4"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self):
        return f"{self.number}/{self.count}"

    def block(self, num_inputs: int) -> slice:
        """Return which of the inputs are of this shard; none, of some, where there are more shards."""
        start, stop = (num_inputs * number // self.count for number in (self.number - 1, self.number))
        return slice(start, stop)

    def file(self, path: StoragePath) -> StoragePath:
        """Return the file of this shard: of ``out.jsonl``, ``out-00001-of-00004.jsonl``."""
        if path.is_dir():  # which is refused by what checks it
            return path
        return path.with_name(f"{path.stem}{self._mark}{path.suffix}")

    def others(self, file: StoragePath) -> Iterator[StoragePath]:
        """Yield the files of the other shards beside that of this one."""
        path = file.with_name(f"{file.stem.removesuffix(self._mark)}{file.suffix}")
        for number in range(1, self.count + 1):
            if number != self.number:
                yield Shard(number, self.count).file(path)

    @property
    def _mark(self) -> str:
        return f"-{self.number:05d}-of-{self.count:05d}"

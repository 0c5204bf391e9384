"""Solved examples that stand before an input, drawn from the training rows by a fixed seed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from t5lite.core.errors import DataError
from t5lite.tasks.task import Task


@dataclass(frozen=True)
class Shots:
    """The examples, the same before every input, but that an input is never its own example."""

    task: Task
    pairs: tuple[tuple[str, str], ...]
    """One more than stand before an input."""

    @classmethod
    def draw(cls, task: Task, training: Iterable[tuple[str, str]], *, seed: int) -> "Shots":
        """Draw as many examples as the task has: those with the least hashes, whatever the rows' order.

        Args:
          task: of the rows.
          training: inputs and targets of the training rows.
          seed: another draws others.

        Raises:
          DataError: if there are not as many rows that differ, and one in reserve.
        """
        count = task.shots
        least: dict[int, tuple[str, str]] = {}
        for pair in training:
            least[_key(pair, seed)] = pair
            if len(least) > count + 1:
                del least[max(least)]
        if len(least) <= count:
            raise DataError(
                f"--shots {count} needs {count + 1} training rows that differ, and there are {len(least)}; "
                "give fewer shots or more rows"
            )
        return cls(task, tuple(least[key] for key in sorted(least)))

    def before(self, pair: tuple[str, str]) -> tuple[str, str]:
        """Return ``pair`` with the examples before its inputs."""
        shots = [shot for shot in self.pairs if shot != pair][: len(self.pairs) - 1]
        solved = [f"{inputs}{self.task.answer_delimiter}{targets}" for inputs, targets in shots]
        return self.task.shot_delimiter.join([*solved, pair[0]]), pair[1]


def _key(pair: tuple[str, str], seed: int) -> int:
    content = f"{seed}\0{pair[0]}\0{pair[1]}".encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")

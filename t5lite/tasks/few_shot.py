"""Solved examples that stand before an input, drawn from the training rows by a fixed seed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from t5lite.core.errors import DataError
from t5lite.data.examples.framed_inputs import NUM_FRAMING
from t5lite.data.stores.target_texts import TargetTexts
from t5lite.data.vocabulary import Vocabulary
from t5lite.tasks.task import Task

Pair = tuple[str, str]


@dataclass
class Shots:
    """The examples, the same before every input, but that an input is never its own example.

    What does not fit into the task's ``inputs_length`` loses examples, the first ones first: whatever is cut
    later is cut at the end, where the question is.
    """

    task: Task
    pairs: tuple[Pair, ...]
    """One more than stand before an input, no two of the same inputs."""
    _fewer: int = field(default=0, init=False)
    _overlong: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)

    @classmethod
    def draw(cls, task: Task, training: Iterable[Pair], *, seed: int) -> "Shots":
        """Draw as many examples as the task has: those with the least hashes, whatever the rows' order.

        Args:
          task: of the rows.
          training: inputs and targets of the training rows; of those with the same inputs one is drawn.
          seed: another draws others.

        Raises:
          DataError: if there are not as many rows that differ, and one in reserve.
        """
        count = task.shots
        least: dict[int, Pair] = {}
        for pair in training:
            key = _key(pair[0], seed)
            least[key] = min(pair, least.get(key, pair))
            if len(least) > count + 1:
                del least[max(least)]
        if len(least) <= count:
            raise DataError(
                f"--shots {count} needs {count + 1} training rows whose inputs differ, and there are "
                f"{len(least)}; give fewer shots or more rows"
            )
        return cls(task, tuple(least[key] for key in sorted(least)))

    def complete(
        self, pairs: Sequence[Pair], vocabulary: Vocabulary, num_threads: int | None = None
    ) -> list[Pair]:
        """Return the pairs with as many examples before their inputs as fit, by the vocabulary's tokens."""
        frame = vocabulary.own_frame
        limit = self.task.inputs_length - max(NUM_FRAMING, 0 if frame is None else frame.size)
        pairs = [(pair[0], pair[1]) for pair in pairs]  # rows may have more than these
        shots = [self._before(inputs) for inputs, _ in pairs]
        texts = [self._joined(*each) for each in zip(shots, pairs, strict=True)]
        too_long = list(range(len(pairs)))
        self._total += len(pairs)
        for dropped in range(self.task.shots + 1):
            encoded = vocabulary.encode_batch([texts[row] for row in too_long], num_threads)
            too_long = [row for row, ids in zip(too_long, encoded, strict=True) if len(ids) > limit]
            if dropped == self.task.shots:
                self._overlong += len(too_long)
                break
            self._fewer += len(too_long) if not dropped else 0
            for row in too_long:
                texts[row] = self._joined(shots[row][dropped + 1 :], pairs[row])
        return [(text, targets) for text, (_, targets) in zip(texts, pairs, strict=True)]

    def remarks(self) -> list[str]:
        """Return what to say of inputs that did not fit."""
        said = []
        if self._fewer:
            said.append(
                f"{self._fewer:,} of {self._total:,} inputs with {self.task.shots} examples before them are "
                f"longer than inputs_length={self.task.inputs_length} tokens and have fewer; the first "
                "ones are left out"
            )
        if self._overlong:
            said.append(
                f"warning: {self._overlong:,} of {self._total:,} inputs are longer than "
                f"inputs_length={self.task.inputs_length} tokens without any example before them, and will "
                "lose their end; give the task a greater inputs_length"
            )
        return said

    def _before(self, inputs: str) -> list[Pair]:
        same = TargetTexts.same(inputs)
        return [shot for shot in self.pairs if TargetTexts.same(shot[0]) != same][: self.task.shots]

    def _joined(self, shots: Sequence[Pair], pair: Pair) -> str:
        solved = [f"{inputs}{self.task.answer_delimiter}{targets}" for inputs, targets in shots]
        return self.task.shot_delimiter.join([*solved, pair[0]])


def _key(inputs: str, seed: int) -> int:
    content = f"{seed}\0{TargetTexts.same(inputs)}".encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")

"""The rows of a task's files, as they go into its stores: looked at once before, where that is needed."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tqdm import tqdm

from t5lite.data.heldout_split import HeldoutSplit
from t5lite.data.reading.input_files import InputFiles, Progress
from t5lite.data.reading.record_texts import InvalidUtf8
from t5lite.data.reading.rows import read_rows
from t5lite.data.reading.tally import Loss, Tally
from t5lite.data.vocabulary import Vocabulary
from t5lite.tasks.few_shot import Pair, Shots
from t5lite.tasks.repetitions import Repetitions, SharedInputs
from t5lite.tasks.rows import LabelledRows


class Row(NamedTuple):
    """A row of a file."""

    inputs: str
    targets: str
    other_targets: tuple[str, ...]
    """As right as ``targets``."""
    whole: str
    """All its columns, by which it is held out by chance: the same rows for every task and form of a file."""
    texts: tuple[str, ...]
    """The texts of the fields, without what the templates add."""
    labels: str
    """What heads learn of it, in JSON."""


@dataclass
class TaskReading:
    """Reads the rows, and knows what to say of them at the end.

    Of rows that are held out by chance, those whose inputs stand in a training row, too, are left out: what
    is scored was not trained on. Where the files say what is held out, such rows are counted alone.
    """

    inputs: InputFiles
    make: LabelledRows
    split: HeldoutSplit
    seed: int
    """By which solved examples are drawn."""
    on_invalid_utf8: InvalidUtf8 = "error"
    _repetitions: Repetitions = field(default_factory=Repetitions, init=False)

    def read(self, progress: Progress | None, tally: Tally) -> Iterator[Row]:
        """Yield the rows of all files, counted anew."""
        shared, _ = self._first_look
        self._repetitions.clear()
        shared.clear()
        for row in self._every(progress, tally):
            is_heldout = self.split.holds_out(row.whole, tally.file)
            if self.split.is_by_chance and is_heldout and shared.leave_out(row.inputs):
                continue
            self._repetitions.add(row.inputs, row.targets, is_heldout=is_heldout)
            yield row

    def complete(
        self, rows: Sequence[Pair], vocabulary: Vocabulary, num_threads: int | None
    ) -> Sequence[Pair]:
        """Return inputs and targets of rows, with the solved examples before them."""
        _, shots = self._first_look
        return rows if shots is None else shots.complete(rows, vocabulary, num_threads)

    def remarks(self) -> list[str]:
        """Return what to say of the rows that were read."""
        shared, shots = self._first_look
        repeated = self._repetitions.remarks(one_answer=not self.make.task.compares_texts)
        return [*shared.remarks(), *repeated, *(shots.remarks() if shots else ())]

    def _every(self, progress: Progress | None, tally: Tally) -> Iterator[Row]:
        """Yield all rows; raises DataError at the end if any have not one tag a word."""
        rows = read_rows(
            self.inputs.paths,
            self.make,
            on_invalid_utf8=self.on_invalid_utf8,
            progress=progress,
            tally=tally,
            whole=self.split.is_by_chance and self.split.exists,
        )
        for whole, labels, asked, answer, others, *texts in rows:
            yield Row(asked, answer, others, whole, tuple(texts), labels)
        tally.check(Loss.UNEVEN)

    @cached_property
    def _first_look(self) -> tuple[SharedInputs, Shots | None]:
        """What has to be known of all rows before the first is written."""
        shared, shots, task, tally = SharedInputs(), None, self.make.task, Tally()

        def training(progress: Progress) -> Iterator[Pair]:
            for row in self._every(progress, tally):
                is_heldout = self.split.holds_out(row.whole, tally.file)
                shared.add(row.inputs, is_heldout=is_heldout)
                if not is_heldout:
                    yield row.inputs, row.targets

        settings = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "leave": False}
        with tqdm(total=self.inputs.num_bytes, desc="looking at all rows", **settings) as bar:
            if task.shots:
                shots = Shots.draw(task, training(bar.update), seed=self.seed)
            elif self.split.exists and self.split.is_by_chance:
                deque(training(bar.update), maxlen=0)
        if self.split.is_by_chance:
            shared.check()
        return shared, shots

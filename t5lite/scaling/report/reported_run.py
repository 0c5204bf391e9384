"""A run as a report shows it, wherever that was read: a run directory, tables of a sweep or of anybody."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from t5lite.runner.status import State
from t5lite.scaling.column_names import NAMES, scale_of

FINISHED = "finished"

Row = Mapping[str, Any]
"""Of a table, values by the names of columns."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Losses of one training, [P] each, by how far it was; NaN where that is not known.

    Attributes:
      steps: done.
      tokens: trained on.
      flops: of training.
      hours: in training steps that count.
      loss: that was measured then.
      is_training: of batches that were trained on, of a run that has no evaluation.
    """

    steps: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    hours: np.ndarray
    loss: np.ndarray
    is_training: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """A run.

    Attributes:
      name: among the runs of its origin.
      family: of runs that one law is fitted to.
      called: the name of that in its own place, where others have one of the same name.
      state: how it stands; a row of a table is finished.
      row: what is known of it, in the columns of a sweep's table.
      points: what laws are fitted to, in columns of ``column_names.NAMES``: one, or those of its training
        where a table has these.
      scale: of their losses (``column_names.scale_of``).
      step: that it has come to; None of a table that does not say.
      total_steps: that it was to make.
      whole_tokens: that it is to be trained on until then; None if it is finished, or that is not known.
      curve: its losses; None where there are none.
      origin: what was given.
      software: with what it was finished, by name.
      time: when something was last known of it, Unix time.
      num_starts: of its process.
      num_rollbacks: to a checkpoint, after which steps were done again.
      num_lost: entries without a finite loss, which are not drawn.
      num_repeated: entries of steps that were done again, of which the later ones are shown.
    """

    name: str
    family: str
    state: State | str
    row: Row
    points: Sequence[Row] = ()
    called: str = ""
    scale: str = "loss"
    step: int | None = None
    total_steps: int | None = None
    whole_tokens: float | None = None
    curve: Curve | None = None
    origin: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    time: float | None = None
    num_starts: int = 0
    num_rollbacks: int = 0
    num_lost: int = 0
    num_repeated: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether it is one that laws may be of."""
        return self.state == FINISHED

    @property
    def ended_early(self) -> bool:
        """Whether it is finished before its last step, as early stopping has it."""
        return self.is_finished and self.step is not None and self.step < (self.total_steps or 0)

    def number(self, column: str) -> float:
        """Return a number of its row; NaN where there is none."""
        return number(self.row.get(column))

    def with_columns(self, columns: Mapping[str, str]) -> "ReportedRun":
        """Return it with points of other columns of its rows, by the names of ``column_names.NAMES``."""
        taken = {name: columns.get(name, name) for name in NAMES if name != "run"}
        points = [{name: point.get(column) for name, column in taken.items()} for point in self.points]
        return replace(self, points=tuple(points), scale=scale_of(taken["loss"]))

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two places have in common that tell of the same run."""
        loss = self.number("loss")  # without which any two runs of a name would be one
        return (self.name, self.number("params"), self.step, loss if math.isfinite(loss) else self.origin)


def number(value: Any) -> float:
    """Return a value of a table as a number; NaN of what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was read of one place.

    Attributes:
      runs: of it.
      notes: what could not be read or was left out, a sentence each.
    """

    runs: tuple[ReportedRun, ...]
    notes: tuple[str, ...] = ()

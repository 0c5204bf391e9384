"""What a training measures on held-out data, and when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from t5lite.training.state import TrainState


@dataclass(frozen=True, kw_only=True)
class PeriodicEvaluation:
    """One of the evaluations of a training."""

    name: str
    measure: Callable[[TrainState], Mapping[str, float]]
    """Must not donate the state."""
    every_steps: int | None = None
    """Steps between two of them; None for the start and the end alone."""
    shown_as: str = "eval"
    """What the names of its metrics begin with in TensorBoard and trackers."""
    says_best: bool = False
    """Whether its metrics say which checkpoints are the best."""

    def is_due(self, step: int, *, total_steps: int) -> bool:
        """Whether it is to be made after ``step`` steps."""
        return step in (0, total_steps) or bool(self.every_steps and step % self.every_steps == 0)

"""What a run begins with that another run has made: its parameters, or all that it was at a step."""

from dataclasses import dataclass

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields


@dataclass(frozen=True, kw_only=True)
class InitializeFrom:
    """Where fine-tuning takes its parameters from; the optimizer and the step count start anew."""

    run: str
    """Run directory of the earlier training, or of an import."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""

    def __post_init__(self):
        expand_fields(self, "run")


@dataclass(frozen=True, kw_only=True)
class ContinueFrom:
    """A checkpoint of another run that this one goes on from as if it were its own.

    Parameters, optimizer state, step, the examples seen and the metrics up to there are carried on, so that
    with the same settings the run is the one that went on there; that one stays as it is.
    """

    run: str
    """Run directory of the other training."""
    step: int
    """Checkpoint."""

    def __post_init__(self):
        expand_fields(self, "run")
        if self.step < 1:
            raise ConfigError(f"continue_from.step={self.step} must be 1 or more; without steps, start anew")

    def check(self, total_steps: int | None) -> None:
        """Check that a run of so many steps (None: its data says how many) has some left.

        Raises:
          ConfigError: if it has not.
        """
        if total_steps is not None and self.step >= total_steps:
            raise ConfigError(
                f"continue_from.step={self.step} leaves no step of training.total_steps={total_steps}; these "
                "count from the start of the run that is gone on from: raise them, or name an earlier step"
            )

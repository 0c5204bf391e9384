"""Which examples a step of a run sees, from what its files say of its past: nothing is trained.

Between two changes of its settings a run has one batch size. Its history tells the step and the examples seen
at each change, so the place of every batch is a division. What was left out after a rollback, and the shares
that a mixture has had, are as the run keeps them.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from t5lite.core.errors import ConfigError
from t5lite.data.pipeline import BatchStream, open_pipeline
from t5lite.run_config import RunConfig
from t5lite.runner.config_changes import Effect
from t5lite.runner.config_history import ConfigHistory, read_config_history
from t5lite.runner.epochs import steps_of_epochs
from t5lite.runner.initialization import find_source
from t5lite.runner.rollback import read_rollbacks
from t5lite.runner.run_directory import RunDirectory

_OTHER_EXAMPLES = tuple(effect.name.lower() for effect in Effect if effect.needs_leave)


class StepBatch(NamedTuple):
    """The batch of a step."""

    start: int
    """The examples seen before it."""
    size: int


@dataclass(frozen=True, kw_only=True)
class StepBatches:
    """The batch of every step of a run.

    Attributes:
      changes: steps done and examples seen at each change of settings, ascending.
      batch_size: since the last of them.
      total_steps: of the run.
    """

    changes: tuple[tuple[int, int], ...] = ()
    batch_size: int
    total_steps: int

    @classmethod
    def of(
        cls, config: RunConfig, history: ConfigHistory, open_data: Callable[[], BatchStream]
    ) -> "StepBatches":
        """Return those of a run with such a past; of one that is to begin, the past is empty.

        The data is opened where its length in epochs says how many steps there are; errors as of that.
        """
        changes = tuple((entry.step, entry.examples_seen) for entry in history.entries)
        training, (step, seen) = config.training, changes[-1] if changes else (0, 0)
        total_steps = training.total_steps
        if training.epochs is not None:
            total_steps = steps_of_epochs(
                training.epochs, training.batch_size, open_data(), step=step, seen=seen
            )
        return cls(changes=changes, batch_size=training.batch_size, total_steps=total_steps)

    def batch(self, step: int) -> StepBatch:
        """Return the batch of a step, counted from 1.

        Raises:
          ConfigError: if the run has no such step.
        """
        if not 1 <= step <= self.total_steps:
            raise ConfigError(f"step {step:,} is none of the run's, which are 1 to {self.total_steps:,}")
        for (first, seen), (end, seen_then) in itertools.pairwise(((0, 0), *self.changes)):
            if first < step <= end:
                size = (seen_then - seen) // (end - first)
                return StepBatch(seen + (step - 1 - first) * size, size)
        first, seen = self.changes[-1] if self.changes else (0, 0)
        return StepBatch(seen + (step - 1 - first) * self.batch_size, self.batch_size)


def history_of(directory: RunDirectory | None) -> ConfigHistory:
    """Return the past of a run, empty of a recipe that was not started; errors as of its reader."""
    return ConfigHistory() if directory is None else read_config_history(directory.config_history_file)


def made_otherwise(history: ConfigHistory, step: int) -> list[str]:
    """Return what was changed after a step and made other examples, or another order, of what it saw."""
    return [
        f"at step {entry.step:,}: {change.change}"
        for entry in history.entries
        for change in entry.changes
        if entry.step >= step and change.effect in _OTHER_EXAMPLES
    ]


def open_seen(config: RunConfig, directory: RunDirectory | None) -> BatchStream:
    """Open the training data as the run saw and sees it, or as one that begins would.

    Raises:
      UserError: as of ``open_pipeline``, or if the run that it begins from cannot be read.
    """
    history = None if directory is None else directory.read_mixture()
    open_with = functools.partial(
        open_pipeline,
        config.data,
        architecture=config.model.architecture,
        start_id=config.model.decoder_start_id,
        seed=config.seed,
        on_damage=config.loader.on_damage,
        history=history,
        # Behind the last change of shares, so that no other is made of it.
        position=0 if history is None else history.current.first_position + 1,
    )
    stream = open_with(classes=None if directory is None else directory.read_classes())
    if directory is None and stream.classes is not None and config.initialize_from is not None:
        source = find_source(config.initialize_from, gives_parameters=False)
        if (known := source.classes_for(config.model, stream.classes)) is not None:
            stream = open_with(classes=known)
    if directory is not None:
        stream.leave_out(read_rollbacks(directory).left_out(None))
    return stream

"""What a training begins with: its parts, where it starts from, and what is said of both."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import jax

from t5lite.checkpointing.partial import RestoreReport
from t5lite.checkpointing.reading import listed
from t5lite.data.pipeline import BatchStream
from t5lite.data.position import DataPosition
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner, multihost
from t5lite.partitioning.unsplit import unsplit_messages
from t5lite.run_config import RunConfig
from t5lite.runner.config_changes import ConfigChange, change_messages
from t5lite.runner.config_history import ConfigHistory
from t5lite.runner.data_messages import data_messages, left_out_messages, unreached_settings, unseen_rows
from t5lite.runner.early_stopping import early_stopping, lacking_message
from t5lite.runner.epochs import epochs_message
from t5lite.runner.heldout import Heldout
from t5lite.runner.heldout_messages import best_messages, heldout_messages
from t5lite.runner.inheritance import described
from t5lite.runner.resumption import Resumption
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_plan import RunPlan
from t5lite.runner.trained import random_messages, trained_messages
from t5lite.training.state import TrainState, abstract_state, state_axes, trained_alone


@dataclass(frozen=True)
class Run:
    """The parts of one run that exist before its state does."""

    config: RunConfig
    directory: RunDirectory
    plan: RunPlan
    """Where it starts from, as its leader decided."""
    pipeline: BatchStream
    heldout: Mapping[str, Heldout]
    """By the names of the evaluations."""
    model: FunctionalModel
    optimizer: Optimizer
    partitioner: Partitioner
    contents: dict[str, str]
    """Digests of the stores, by field."""
    changes: list[ConfigChange]
    """Against the checkpoint to go on from."""

    @property
    def resumed(self) -> Resumption | None:
        """The checkpoint to go on from, None for a run that begins."""
        return self.plan.resumed

    def saved(self, state: TrainState) -> TrainState:
        """Return what of the state a checkpoint holds: all but what a base has."""
        return state if self.plan.base is None else trained_alone(state, self.optimizer)

    @property
    def position(self) -> DataPosition:
        """The examples that were seen before this start."""
        return self.plan.position

    @property
    def changed_fields(self) -> list[str]:
        """Fields that are others than up to where it goes on; not those of stores that moved."""
        before = self.resumed.contents if self.resumed else {}
        moved = {field for field, contents in self.contents.items() if before.get(field) == contents}
        return [change.field for change in self.changes if change.field not in moved]

    @property
    def history(self) -> ConfigHistory:
        """The changes, and earlier ones."""
        return self.plan.history.resumed(self.resumed, self.changes) if self.resumed else self.plan.history


@dataclass(frozen=True)
class Start:
    """What a run starts with."""

    state: TrainState
    origin: str | None = None
    """What to say about it."""
    report: RestoreReport | None = None
    """The parameters that ``initialize_from`` gave."""


def origin_of(report: RestoreReport, source: str, directory: RunDirectory) -> str:
    """Return what to say of parameters that another run gave."""
    num_params = sum(math.prod(leaf.shape) for leaf in report.leaves)
    others = []
    if report.new:
        because = f", for {report.reason}" if report.reason else ""
        others.append(f"made {len(report.new)} anew ({listed([leaf.name for leaf in report.new])}{because})")
    if report.left:
        others.append(f"left {len(report.left)} there ({', '.join(leaf.name for leaf in report.left)})")
    return (
        f"took {len(report.leaves)} arrays ({num_params:,} parameters) of step {report.step} from {source}"
        f"{''.join(f', {other}' for other in others)}, listed in {directory.initialized_from_file}; "
        "optimizer state and step count start anew"
    )


def announce(run: Run, start: Start) -> None:
    """Say what is trained, on what data, from where and, when resuming, what changed."""
    if run.resumed is not None:
        changed = change_messages(run.changes, continued=run.plan.continued and run.plan.continued.run)
        for message in [*run.resumed.notes, *changed, *_rate_change(run, start)]:
            say(message)
    training = run.config.training
    mesh = " x ".join(f"{axis}={size}" for axis, size in run.partitioner.mesh.shape.items() if size > 1)
    say(
        f"{run.model.num_params:,} parameters, {jax.device_count()} {jax.devices()[0].platform} device(s)"
        f"{f' ({mesh})' if mesh else ''}, {run.pipeline.num_examples:,} examples an epoch, "
        f"{training.batch_size} x {_row_length(run.pipeline)} tokens a step → {run.directory.path}"
    )
    if length := epochs_message(run.config, run.pipeline):
        say(length)
    axes = state_axes(run.model, run.optimizer)
    unsplit = unsplit_messages(run.partitioner, abstract_state(run.model, run.optimizer), axes)
    for message in [*trained_messages(run.config.trained(run.model), run.model), *unsplit]:
        say(message)
    if (base := run.plan.base) is not None:
        say(
            f"checkpoints hold what is trained alone, and are read beside step {base.step} of {base.run}: "
            "keep that"
        )
    if start.report is not None and (source := run.config.initialize_from):
        say(f"the model of {source.run}: {described(run.config.model)}")
    for message in random_messages(run.config, run.model, start.report) if run.resumed is None else ():
        say(message)
    place = run.plan.place
    for message in [*data_messages(run.pipeline, position=place), *left_out_messages(run.pipeline.left_out)]:
        say(message)
    unseen, unreached = None, []
    if not any(change.effect.needs_leave for change in run.changes):  # else nobody knows
        num_steps = training.total_steps - run.plan.step
        unseen = unseen_rows(
            run.pipeline, num_steps=num_steps, batch_size=training.batch_size, position=run.position
        )
        end = run.position.after(num_steps, batch_size=training.batch_size).examples_seen
        unreached = unreached_settings(run.config.data, run.pipeline, examples=end)
    measured = [*heldout_messages(run.config, run.heldout), *best_messages(run.config, run.changed_fields)]
    stopping = early_stopping(run.config, run.plan.evaluations)
    measured += filter(None, [lacking_message(run.config, stopping)])
    of_source = run.plan.source.notes if run.plan.source and not run.resumed else []
    told = (unseen, *unreached, *measured, *run.plan.messages, *of_source, start.origin)
    for message in told:
        if message:
            say(message)


def _rate_change(run: Run, start: Start) -> list[str]:
    """Return what to say where the learning rate jumps because the run's end or its schedule changed."""
    if run.resumed is None or run.resumed.config is None:
        return []
    schedule = run.resumed.config.schedule.build(run.resumed.config.training.total_steps)
    earlier = run.config.build_optimizer(run.model, schedule)
    before, now = (float(each.learning_rate(start.state.opt_state)) for each in (earlier, run.optimizer))
    if before == now:
        return []
    return [
        f"note: the learning rate jumps from {before:.4g} to {now:.4g} at step {run.plan.step}: the schedule "
        "or training.total_steps was changed"
    ]


def _row_length(pipeline: BatchStream) -> str:
    lengths = [length for length in (pipeline.encoder_length, pipeline.decoder_length) if length]
    return f"({lengths[0]} + {lengths[1]})" if len(lengths) > 1 else str(lengths[0])


def say(message: str) -> None:
    """Show one line before there is a progress line, on the leader only."""
    if multihost.is_leader():
        print(message, file=sys.stderr, flush=True)

"""The training loop: batches in, steps done, metrics read one step late, evaluation and checkpoints on time.

The loop is handed its parts and knows nothing of configuration files, models or data formats. Pretraining
and fine-tuning are the same loop. Resuming is the caller's doing: a state whose ``step`` is ``n`` and an
iterator whose first batch is the one after the examples seen go on as if there had been no interruption.
The learning rate goes by steps, the data by examples.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from t5lite.checkpointing.manager import Checkpoints
from t5lite.core.errors import NumbersError
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.position import DataPosition
from t5lite.training.bad_steps import BadSteps, StepRecord, WentBadError
from t5lite.training.config import TrainingConfig
from t5lite.training.early_stopping import EarlyStopping
from t5lite.training.evaluations import PeriodicEvaluation
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption, StopRequested
from t5lite.training.profiler import ProfilerWindow
from t5lite.training.replicas import ReplicaCheck
from t5lite.training.saving import Saver
from t5lite.training.spikes import SpikeDetector
from t5lite.training.state import TrainState
from t5lite.training.step import DeviceBatch
from t5lite.training.telemetry import Telemetry

Reason = Literal["finished", "preempted"]


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """What the loop works with; whoever makes them closes them."""

    train_step: Any
    """Jitted ``(state, batch) -> (state, metrics)`` of ``step.compile_train_step``."""
    batches: Iterator[DeviceBatch]
    """Global batches on their devices, one for each step that is left; the first begins at ``position``."""
    telemetry: Telemetry
    preemption: Preemption
    checkpoints: Checkpoints | None = None
    position: DataPosition = field(default_factory=DataPosition)
    """The examples that ``state`` has seen."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Saved with every checkpoint, beside step and position; JSON-able: the resolved configuration."""
    step_record: StepRecord = field(default_factory=StepRecord)
    """Of the steps that ``state`` has done."""
    evaluations: tuple[PeriodicEvaluation, ...] = ()
    early_stopping: EarlyStopping | None = None
    """Ends the run before its last step; knows what was measured before."""
    profile_directory: StoragePath = Path("profile")
    saved: Callable[[TrainState], TrainState] = lambda state: state
    """What of the state a checkpoint holds."""

    @property
    def phases(self) -> Phases:
        """Is told what the loop is doing."""
        return self.preemption.phases


class TrainingResult(NamedTuple):
    """How a run ended."""

    state: TrainState
    step: int
    reason: Reason


def train(state: TrainState, config: TrainingConfig, parts: TrainingParts) -> TrainingResult:
    """Train from ``state`` to ``config.total_steps``, or to an early stop; ``state`` is consumed.

    Makes its evaluations before step 0, each at its interval, and at the end; saves every
    ``checkpoints.config.save_every_steps``, at the end, and when stopped by a signal; where both are due, it
    saves first. All saves are on disk when it returns. A run stopped by a signal does not evaluate any more;
    where that was due, the run that resumes it makes up for it. A save that is due after a bad step (not
    finite, or a loss spike) waits for a good one: the parameters may be what brought it about, and must not
    push good ones out. An entry of the metrics file never spans a checkpoint, so a run that was killed and
    resumed writes the entries of one that was not.

    Raises:
      WentBadError: after ``max_nonfinite_steps`` bad steps in a row, if the last step was bad, or if the
        state to save is not finite.
      SaveFailedError: if the last save fails, or another one where ``checkpoints.config`` says to stop.
      TransientError: if replicas are found to differ.
    """
    return _Loop(state, config, parts).run()


class _Loop:
    def __init__(self, state: TrainState, config: TrainingConfig, parts: TrainingParts) -> None:
        self.state, self.config, self.parts = state, config, parts
        self.step = int(jax.device_get(state.step))
        self.start_step = self.step
        self.pending: tuple[int, Any] | None = None
        spikes = SpikeDetector(threshold=config.spike_threshold, window_steps=config.spike_window_steps)
        self.bad_steps = BadSteps(
            config.max_nonfinite_steps, spikes, parts.telemetry.message, parts.step_record
        )
        self.saver = (
            Saver(
                parts.checkpoints,
                parts.telemetry.message,
                failed=functools.partial(parts.telemetry.met, "failed_saves"),
            )
            if parts.checkpoints
            else None
        )
        self.save_waits = False
        every = config.check_replicas_every_steps
        self.replicas = ReplicaCheck(state, every) if every else None
        if self.replicas and not self.replicas.num_replicated:
            parts.telemetry.message(
                "no array has replicas on this mesh: training.check_replicas_every_steps is moot"
            )
        self.profiler = ProfilerWindow(
            parts.profile_directory,
            start_step=config.profile_start_step,
            num_steps=config.profile_num_steps,
        )

    def run(self) -> TrainingResult:
        try:
            with closing(self.profiler), self._telling_what_is_saved():
                reason = self._run_until_stopped()
            if reason != "preempted":
                self.bad_steps.check_end(self.step)
            self._save(last=True)
        except WentBadError:
            if self.saver is not None:
                with self.parts.phases.enter("save"):
                    self.saver.settle()  # a save that failed is no reason not to go back
            raise
        return TrainingResult(self.state, self.step, reason)

    @property
    def position(self) -> DataPosition:
        """The examples that ``state`` has seen."""
        return self.parts.position.after(self.step - self.start_step, batch_size=self.config.batch_size)

    def _run_until_stopped(self) -> Reason:
        try:
            self._evaluate(self._due_evaluations())
            return self._run_steps()
        except StopRequested:
            with suppress(WentBadError):  # there is no time to go back; the run that resumes this one will
                self._settle()
            return "preempted"

    def _run_steps(self) -> Reason:
        compiled_step = None
        while self.step < self.config.total_steps and not self._stops_early():
            with self.parts.phases.enter("input"):
                batch = next(self.parts.batches)
            if compiled_step is None:
                compiled_step = self._compile(batch)
                self.parts.telemetry.start_clock()
            with self.parts.phases.enter("step"):
                self._run_step(compiled_step, batch)
            if self.parts.preemption.requested() and self.step < self.config.total_steps:
                raise StopRequested
            self._do_what_is_due()
        if self._stops_early():
            self._evaluate(self.parts.evaluations)  # also those that are not due before the last step
            self.parts.telemetry.message(f"ends early, at step {self.step}: {self.parts.early_stopping}")
        return "finished"

    def _stops_early(self) -> bool:
        return self.parts.early_stopping is not None and self.parts.early_stopping.is_over

    def _run_step(self, compiled_step: Any, batch: DeviceBatch) -> None:
        """Dispatch one step, and only then read the metrics of the step before it.

        So the devices always have their next step queued, and the host is never more than one step ahead.
        """
        self.profiler.before(self.step)
        # Everything the step needs is on the devices already; an implicit transfer would be a mistake.
        with jax.transfer_guard("disallow"):
            self.state, metrics = compiled_step(self.state, batch)
        traced = self.profiler.after(self.step, metrics)
        self.step += 1
        self._read_pending()
        self.pending = (self.step, metrics)
        if traced:
            self.parts.telemetry.message(f"profiler trace written to {self.parts.profile_directory}")

    def _do_what_is_due(self) -> None:
        evaluations = self._due_evaluations()
        save = (
            (self.saver is not None and self.saver.is_due(self.step))
            or self.save_waits
            or self.step == self.config.total_steps
        )
        if evaluations or save:
            self._settle()
        self.save_waits = save and self.bad_steps.in_a_row > 0
        if self.save_waits and self.saver is not None:
            self.saver.put_off(self.step)
        # An evaluation may take longer than a signal leaves time for, and changes nothing that is saved.
        if save and not self.save_waits:
            self._save()
        elif self.replicas and self.step % self.replicas.every_steps == 0:
            self.replicas.check(self.state, self.step)
        self._evaluate(evaluations)

    def _due_evaluations(self) -> list[PeriodicEvaluation]:
        total = self.config.total_steps
        return [each for each in self.parts.evaluations if each.is_due(self.step, total_steps=total)]

    def _settle(self) -> None:
        """Read the metrics that are due and end the entry: the file is complete up to this step."""
        if self.pending is not None:
            with self.parts.phases.enter("step"):  # which is under way
                self._read_pending()
        self.parts.telemetry.write_entry()
        self.parts.telemetry.flush()

    def _read_pending(self) -> None:
        if self.pending is None:
            return
        step, metrics = self.pending
        self.pending = None
        metrics = jax.device_get(metrics)
        self.parts.telemetry.record(step, metrics)
        if step % self.config.log_every_steps == 0:
            self.parts.telemetry.write_entry()
        self.bad_steps.judge(step, metrics)

    def _compile(self, batch: DeviceBatch) -> Any:
        """Compile ahead of time, so that the time is known and a batch of another shape is an error."""
        self.parts.telemetry.message("compiling the train step: seconds to minutes, once")
        start = time.perf_counter()
        with self.parts.phases.enter("compile"):
            compiled = self.parts.train_step.lower(self.state, batch).compile()
        self.parts.telemetry.write_compilation(self.step, time.perf_counter() - start)
        return compiled

    def _evaluate(self, evaluations: Iterable[PeriodicEvaluation]) -> None:
        """Evaluate, unless the metrics file has it from before: a finished run is left alone."""
        telemetry, checkpoints = self.parts.telemetry, self.parts.checkpoints
        for each in evaluations:
            if telemetry.has_evaluation(self.step, each.name):
                continue
            with self.parts.phases.enter("evaluation"):
                metrics = each.measure(self.state)
                telemetry.write_evaluation(self.step, each.name, metrics, shown_as=each.shown_as)
            if checkpoints is not None and each.says_best:
                checkpoints.record_evaluation(self.step, metrics)
            if self.parts.early_stopping is not None and each.says_best:
                self.parts.early_stopping.record(self.step, metrics)

    @contextmanager
    def _telling_what_is_saved(self) -> Iterator[None]:
        """Answer what signals ask during the block; the state, which is large, outlives it by nothing."""
        before, self.parts.preemption.saved = self.parts.preemption.saved, self._is_saved
        try:
            yield
        finally:
            self.parts.preemption.saved = before

    def _is_saved(self) -> bool:
        return self.parts.checkpoints is not None and self.parts.checkpoints.latest_step() == self.step

    def _save(self, *, last: bool = False) -> None:
        if self.saver is not None and self.parts.checkpoints is not None:
            with self.parts.phases.enter("save"):
                metadata = {
                    **self.parts.metadata,
                    "step": self.step,
                    **self.position.to_json(),
                    **self.bad_steps.record.to_json(),
                }
                good = self.bad_steps.last_good_step(self.step)
                if self.replicas:
                    self.replicas.check(self.state, self.step)
                start = functools.partial(
                    self.parts.checkpoints.save,
                    self.step,
                    self.parts.saved(self.state),
                    metadata,
                    last_good_step=good,
                )
                try:
                    (self.saver.finish if last else self.saver.save)(start)
                except NumbersError as error:
                    raise self.bad_steps.state_went_bad(self.step, error) from error

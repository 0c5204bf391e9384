"""Train a RunConfig: check everything, build the parts, resume or start, run the loop."""

import contextlib
import dataclasses
import functools
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.checkpointing.lease import Lease
from t5lite.checkpointing.manager import Checkpoints
from t5lite.checkpointing.reading import Step
from t5lite.checkpointing.recovery import set_aside
from t5lite.core.files import make_directory, write_text
from t5lite.core.types import Tree
from t5lite.data.host_loader import device_batches, local_rows
from t5lite.data.pipeline import BatchStream
from t5lite.models.functional import FunctionalModel
from t5lite.optim.trained import merged
from t5lite.partitioning import multihost
from t5lite.run_config import RunConfig
from t5lite.runner.beginning import Run, Start, announce, say
from t5lite.runner.continuing import take_rollbacks
from t5lite.runner.cost_record import cost_recorded, record_finish
from t5lite.runner.data_messages import skipped_rows
from t5lite.runner.early_stopping import early_stopping
from t5lite.runner.going_back import FROM_STEP, asked_return, still_there
from t5lite.runner.heldout_measures import heldout_evaluators
from t5lite.runner.joining import check_same, joined
from t5lite.runner.preparation import prepare_start
from t5lite.runner.resumption import metadata_of
from t5lite.runner.rollback import Stretch, roll_back
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_files import write_files, write_lost_files
from t5lite.runner.scorer import Scorer
from t5lite.runner.scorers import scorer_of
from t5lite.runner.tracking import tracked
from t5lite.tasks.recipes import with_kept_tasks
from t5lite.training import loop
from t5lite.training.bad_steps import Incident, StepRecord, WentBadError
from t5lite.training.evaluations import PeriodicEvaluation
from t5lite.training.ledger import Ledger
from t5lite.training.loop import Reason, TrainingParts
from t5lite.training.state import TrainState
from t5lite.training.step import compile_train_step, make_train_step
from t5lite.training.step_flops import step_flops
from t5lite.training.supervision import Supervision, supervised
from t5lite.training.telemetry import Telemetry
from t5lite.training.trackers.reporting import Trackers


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and its parameters (on their devices)."""

    step: int
    reason: Reason
    signal: signal.Signals | None
    """What stopped it, if it was preempted."""
    model: FunctionalModel
    params: Tree
    metrics: dict[str, dict[str, float]]
    """Of the last of each evaluation of this attempt (at ``step``, if it finished), by name."""


def train(
    config: RunConfig,
    supervision: Supervision | None = None,
    *,
    allowed: Collection[str] = (),
    from_step: Step = "newest",
) -> Outcome:
    """Train as ``config`` says, from the newest checkpoint of ``run_dir`` if there is one.

    Args:
      config: of the run.
      supervision: that this process is under already; by default it is for as long as it trains.
      allowed: fields that may change though a run that goes on is then another experiment.
      from_step: go back to this checkpoint.

    Raises:
      NumbersError: if the numbers go bad and stay so.
      UserError: for whatever does not fit, checkpoints to start from included, before anything is written
        and before the training step is compiled; for damaged data, when it is read.
    """
    config = with_kept_tasks(config.resolved())
    if supervision is not None:
        return _train_alone(config, supervision, allowed, from_step)
    with supervised(config.watchdog, RunDirectory.at(config.run_dir).path) as supervision:
        return _train_alone(config, supervision, allowed, from_step)


def _train_alone(
    config: RunConfig, supervision: Supervision, allowed: Collection[str], from_step: Step
) -> Outcome:
    """Train as the only run that writes to the directory, with all processes that take part.

    Whenever the numbers go bad it starts again from what was good: a rollback is a restart.
    """
    phases = supervision.phases
    with contextlib.ExitStack() as stack:
        with supervision.phases.enter("startup"):
            lease, refusal, program = stack.enter_context(joined(config, supervision, say))
            run, start = prepare_start(config, phases, allowed, lambda found: asked_return(found, from_step))
            if multihost.as_the_leader_says(_is_finished(run)):
                record_finish(
                    run.directory.path, lease, supervision.clock, program=program, step=run.plan.step, say=say
                )
                return _finished(run, start, may_write=refusal is None)
            if refusal is not None:
                raise refusal
            _begin(run, start)
        directory, clock = run.directory, supervision.clock
        ledger = stack.enter_context(
            cost_recorded(directory.path, lease, clock, program=program, start_step=run.plan.step, say=say)
        )
        trackers = stack.enter_context(tracked(run.config, directory.path, say))
        while (outcome := _train(run, start, supervision, lease, ledger, trackers)) is None:
            back = run.plan.back
            del run, start  # and with it what is left of the state
            with phases.enter("startup"):
                run, start = prepare_start(config, phases, allowed, functools.partial(still_there, back=back))
                _begin(run, start)
        return outcome


def _begin(run: Run, start: Start) -> None:
    """Compare what the processes are about to do, say it, and write what makes the directory a run."""
    check_same(
        "data",
        {
            "vocabulary": run.pipeline.vocabulary.fingerprint,
            "num_examples": run.pipeline.num_examples,
            "contents of stores": run.contents,
            "start": run.plan.step,
            "examples seen": run.position.examples_seen,
            # The environment and the version of the compiler have a say in them.
            "compiler options": run.partitioner.compiler_options,
            **run.pipeline.left_out.to_json(),
        },
    )
    directory = run.directory
    if multihost.is_leader():
        make_directory(directory.path)
    announce(run, start)
    if multihost.is_leader():
        write_files(run)
        set_aside(directory.checkpoints, run.plan.set_aside)
        if run.plan.past is not None:
            take_rollbacks(run.plan.past, directory)
        if start.report is not None:
            write_text(directory.initialized_from_file, f"{start.report}\n")
    multihost.barrier("run directory")


def _train(
    run: Run,
    start: Start,
    supervision: Supervision,
    lease: Lease | None,
    ledger: Ledger | None,
    trackers: Trackers | None,
) -> Outcome | None:
    """Return how the training ended, None if it is to start again where it was rolled back to."""
    config, directory, preemption = run.config, run.directory, supervision.preemption
    metrics: dict[str, dict[str, float]] = {}
    if ledger is not None:
        ledger.met("damaged_checkpoints", run.plan.num_damaged)
        ledger.left_out_examples = run.pipeline.left_out.num_examples
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(directory.checkpoints, config.checkpoints))
        for entry in run.plan.evaluations:
            if entry["evaluation"] == config.best_evaluation and config.checkpoints.best_value in entry:
                checkpoints.record_evaluation(entry["step"], entry)
        telemetry = stack.enter_context(
            Telemetry(
                directory.path,
                supervision.clock,
                start_step=run.plan.step,
                earlier=run.plan.past and run.plan.past.metrics,
                before_write=(lambda: None) if lease is None else lease.check_if_due,
                total_steps=config.training.total_steps,
                step_flops=step_flops(
                    run.model,
                    run.optimizer,
                    **run.pipeline.spec.read(config.training.batch_size),
                ),
                examples_seen=functools.partial(_examples_seen, run, run.plan.step),
                ledger=ledger,
                trackers=trackers,
                keeps=config.checkpoints.on_save_failure == "continue",
            )
        )
        batches = stack.enter_context(_batches(run, run.plan.step, supervision))
        parts = TrainingParts(
            train_step=_compiled_step(run),
            batches=_counting_skipped(batches, run.pipeline, telemetry),
            telemetry=telemetry,
            preemption=preemption,
            checkpoints=checkpoints,
            position=run.position,
            metadata={
                **metadata_of(config, run.pipeline, run.contents, run.resumed),
                **(run.plan.base.to_json() if run.plan.base else {}),
                **({} if run.plan.went_back is None else {FROM_STEP: run.plan.went_back}),
            },
            step_record=_step_record(run),
            evaluations=_evaluations(run, metrics, telemetry, supervision),
            early_stopping=early_stopping(config, run.plan.evaluations),
            profile_directory=directory.path / "profile",
            saved=run.saved,
        )
        try:
            result = loop.train(start.state, config.training, parts)
        except WentBadError as bad:
            with supervision.phases.enter("save"):  # it writes, which only who has the lease may
                telemetry.message(_rolled_back(run, start, bad.incident, checkpoints))
            telemetry.met("rollbacks")
            return None
        if run.pipeline.skipped:
            telemetry.message(skipped_rows(run.pipeline.skipped))
        stopped_by = preemption.signal if result.reason == "preempted" else None
        if trackers is not None:
            trackers.finish(result.reason)
        if ledger is not None:
            ledger.finish(result.reason, 128 + stopped_by if stopped_by else 0)
    return Outcome(
        step=result.step,
        reason=result.reason,
        signal=stopped_by,
        model=run.model,
        params=result.state.params,
        metrics=metrics,
    )


def _is_finished(run: Run) -> bool:
    stopping = early_stopping(run.config, run.plan.evaluations)
    is_over = run.plan.step == run.config.training.total_steps or (stopping is not None and stopping.is_over)
    # One that goes on from another's checkpoint has none of its own so far, nor any file.
    return run.plan.continued is None and is_over and run.plan.is_evaluated(run.heldout)


def _finished(run: Run, start: Start, *, may_write: bool) -> Outcome:
    """Say that there is nothing left to do, and leave the run as it is but for files that it has lost."""
    if may_write and multihost.is_leader() and (lost := write_lost_files(run)):
        say(f"written anew, for they were missing or damaged: {', '.join(lost)}")
    unused = f"; not taken: {'; '.join(map(str, run.changes))}" if run.changes else ""
    total_steps = run.config.training.total_steps
    epochs = run.config.training.epochs
    length = f"training.total_steps={total_steps}" if epochs is None else f"training.epochs={epochs:g}"
    how = f"is finished: step {run.plan.step} of {length}; raise that"
    if run.plan.step < total_steps:
        how = (
            f"has ended early, at step {run.plan.step} of {total_steps}: "
            f"{early_stopping(run.config, run.plan.evaluations)}; raise that, or set it to None,"
        )
    say(f"{run.directory.path} {how} to train on{unused}")
    return Outcome(
        step=run.plan.step,
        reason="finished",
        signal=None,
        model=run.model,
        params=start.state.params,
        metrics={},
    )


def _rolled_back(run: Run, start: Start, incident: Incident, checkpoints: Checkpoints) -> str:
    """Go back to the last good checkpoint and return what to say; errors as of ``roll_back``."""
    origin = run.config.continue_from
    stretch = Stretch(
        directory=run.directory,
        start_step=run.plan.step,
        position=run.position,
        batch_size=run.config.training.batch_size,
        left_out=run.pipeline.left_out,
        begin_step=0 if origin is None else origin.step,
    )
    return roll_back(incident, stretch, checkpoints, at_most=run.config.training.max_rollbacks)


def _examples_seen(run: Run, start_step: int, step: int) -> int:
    """Return how many examples the run has seen after ``step`` steps."""
    return run.position.after(step - start_step, batch_size=run.config.training.batch_size).examples_seen


def _step_record(run: Run) -> StepRecord:
    """Return what is known of the steps so far; the losses of other data do not tell what is a spike."""
    record = run.resumed.step_record if run.resumed else StepRecord()
    of_other_data = any(change.field.startswith("data") for change in run.changes)
    return dataclasses.replace(record, recent_losses=()) if of_other_data else record


def _compiled_step(run: Run) -> Any:
    step = make_train_step(run.model, run.optimizer, run.config.step, seed=run.config.seed)
    return compile_train_step(step, run.model, run.optimizer, run.partitioner)


def _batches(run: Run, start_step: int, supervision: Supervision) -> Any:
    batch_size, loader = run.config.training.batch_size, run.config.loader
    sharding = run.partitioner.batch_sharding
    host_batches = run.pipeline.batches(
        batch_size=batch_size,
        start=run.position.examples_seen,
        rows=local_rows(sharding, batch_size),
        num_workers=loader.num_workers,
        num_steps=run.config.training.total_steps - start_step,
    )
    return device_batches(
        host_batches,
        sharding=sharding,
        prefetch=loader.prefetch,
        while_waiting=supervision.preemption.check_alone,
    )


def _counting_skipped(
    batches: Iterator[dict[str, jax.Array]], pipeline: BatchStream, telemetry: Telemetry
) -> Iterator[dict[str, jax.Array]]:
    """Yield the batches; say so when damage costs rows, again whenever it does in twice as many places."""
    next_report, counted = 1, 0
    for batch in batches:
        if (skipped := pipeline.skipped.total()) > counted:
            telemetry.met("blank_rows", skipped - counted)
            counted = skipped
        if len(pipeline.skipped) >= next_report:
            next_report = 2 * len(pipeline.skipped)
            telemetry.message(skipped_rows(pipeline.skipped))
        yield batch


def _evaluations(
    run: Run, newest: dict[str, dict[str, float]], telemetry: Telemetry, supervision: Supervision
) -> tuple[PeriodicEvaluation, ...]:
    """Return the loop's evaluations, which also keep their results in ``newest``."""

    def before_batch() -> None:
        supervision.phases.progress()
        supervision.preemption.check()

    evaluators = heldout_evaluators(run.model, run.partitioner, run.heldout, before_batch=before_batch)
    scorers = _scorers(run)
    is_first = True

    def measure(name: str, state: TrainState) -> dict[str, float]:
        nonlocal is_first
        if is_first:
            telemetry.message("compiling the evaluation step: seconds to minutes, once")
        is_first = False
        average = run.heldout[name].config.average
        params = state.params if average is None else merged(state.params, state.opt_state.average)
        newest[name] = evaluators[name](params).means
        if (scorer := scorers[name]) is not None:
            scores = scorer(params, before_output=before_batch).scores
            # The accuracy stays that of the loss, of which ties are misses.
            newest[name] |= {metric: value for metric, value in scores.items() if metric not in newest[name]}
        return newest[name]

    return tuple(
        PeriodicEvaluation(
            name=name,
            measure=functools.partial(measure, name),
            every_steps=heldout.config.every_steps or run.config.training.eval_every_steps,
            shown_as=f"eval/{name}" if len(run.heldout) > 1 else "eval",
            says_best=name == run.config.best_evaluation,
        )
        for name, heldout in run.heldout.items()
    )


def _scorers(run: Run) -> dict[str, Scorer | None]:
    """Return what scores predictions in the training, by the names of evaluations."""
    return {
        name: scorer_of(
            heldout,
            *(run.model, run.pipeline.vocabulary, run.config),
            eos_ids=run.plan.eos_ids,
            partitioner=run.partitioner,
            in_training=True,
        )
        for name, heldout in run.heldout.items()
    }

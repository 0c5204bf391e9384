"""Train a RunConfig: check everything, build the parts, resume or start, run the loop."""

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.checkpointing.manager import Checkpoints
from t5lite.checkpointing.partial import restore_params
from t5lite.checkpointing.reading import available_steps
from t5lite.core.types import Tree
from t5lite.data.host_loader import device_batches, local_rows
from t5lite.data.pipeline import Pipeline, open_pipeline
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner, make_partitioner, multihost
from t5lite.run_config import RunConfig, to_json
from t5lite.runner.components import (
    check_source,
    check_vocabulary,
    heldout_pipeline,
    sharded_abstract_params,
)
from t5lite.runner.evaluation import heldout_evaluator
from t5lite.runner.run_directory import RunDirectory
from t5lite.training import loop
from t5lite.training.loop import Reason, TrainingParts
from t5lite.training.preemption import Preemption
from t5lite.training.state import TrainState, abstract_state, init_state, state_axes, state_from_params
from t5lite.training.step import check_batch_size, compile_train_step, make_train_step
from t5lite.training.telemetry import Telemetry


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and its parameters (on their devices)."""

    step: int
    reason: Reason
    signal: signal.Signals | None
    """What stopped it, if it was preempted."""
    model: FunctionalModel
    params: Tree


@dataclass(frozen=True)
class _Run:
    """The parts of one run that exist before its state does."""

    config: RunConfig
    directory: RunDirectory
    pipeline: Pipeline
    heldout: Pipeline | None
    model: FunctionalModel
    optimizer: Optimizer
    partitioner: Partitioner


def train(config: RunConfig) -> Outcome:
    """Train as ``config`` says, from the newest checkpoint of ``run_dir`` if there is one.

    Raises:
      UserError: for whatever does not fit, before anything is compiled or written.
    """
    run = _prepare(config)
    start_step, make_state = _start(run)
    directory = run.directory
    with contextlib.ExitStack() as stack:
        preemption = stack.enter_context(Preemption())
        checkpoints = stack.enter_context(Checkpoints(directory.checkpoints, config.checkpoints))
        telemetry = stack.enter_context(
            Telemetry(
                directory.path,
                start_step=start_step,
                total_steps=config.training.total_steps,
                step_flops=train_step_flops(
                    config.model,
                    batch_size=config.training.batch_size,
                    encoder_length=run.pipeline.encoder_length,
                    decoder_length=run.pipeline.decoder_length,
                ),
            )
        )
        _announce(run, start_step, telemetry)
        state = make_state(checkpoints, telemetry)
        batches = stack.enter_context(_batches(run, start_step))
        parts = TrainingParts(
            train_step=_compiled_step(run),
            batches=batches,
            telemetry=telemetry,
            preemption=preemption,
            checkpoints=checkpoints,
            metadata={"config": to_json(config)},
            evaluate=_evaluation(run),
            profile_directory=directory.path / "profile",
        )
        result = loop.train(state, config.training, parts)
    return Outcome(
        step=result.step,
        reason=result.reason,
        signal=preemption.signal if result.reason == "preempted" else None,
        model=run.model,
        params=result.state.params,
    )


def _prepare(config: RunConfig) -> _Run:
    """Open the data, check that everything fits together, and write the small files of the run."""
    pipeline = open_pipeline(config.data, seed=config.seed)
    check_vocabulary(pipeline.vocabulary, config.model)
    heldout = heldout_pipeline(config, pipeline.vocabulary)
    check_source(config, pipeline.vocabulary)
    model = build(config.model)
    optimizer = config.optimizer.build(config.schedule.build(config.training.total_steps), model.logical_axes)
    partitioner = make_partitioner(config.partitioning)
    state = abstract_state(model, optimizer)
    partitioner.check(state, state_axes(model, optimizer), config.training.batch_size)
    check_batch_size(config.training.batch_size, config.step.num_microbatches, partitioner)
    if heldout is not None:
        check_batch_size(config.evaluation.batch_size, 1, partitioner)
    directory = RunDirectory.at(config.run_dir)
    if multihost.is_leader():
        directory.write_model(config.model, pipeline.vocabulary)
    multihost.barrier("run directory")
    return _Run(config, directory, pipeline, heldout, model, optimizer, partitioner)


def _start(run: _Run) -> tuple[int, Callable[[Checkpoints, Telemetry], TrainState]]:
    """Return the step to start from and the function that makes the state, in this order of preference.

    1. a checkpoint of this run: everything is restored;
    2. ``initialize_from``: its parameters, a new optimizer state, step 0;
    3. random parameters from ``seed``.
    """
    latest = max(available_steps(run.directory.checkpoints), default=None)
    source = run.config.initialize_from

    def restored(checkpoints: Checkpoints, telemetry: Telemetry) -> TrainState:
        telemetry.message(f"resuming from step {latest} of {run.directory.checkpoints}")
        return checkpoints.restore(abstract_state(run.model, run.optimizer, run.partitioner), latest)

    def initialized(checkpoints: Checkpoints, telemetry: Telemetry) -> TrainState:
        assert source is not None
        params, report = restore_params(
            RunDirectory.at(source.run).checkpoints,
            sharded_abstract_params(run.model, run.partitioner),
            step=source.step,
        )
        telemetry.message(
            f"took {len(report.leaves)} arrays ({run.model.num_params:,} parameters) of step {report.step} "
            f"from {source.run}; optimizer state and step count start anew"
        )
        return state_from_params(params, run.model, run.optimizer, run.partitioner)

    def random(checkpoints: Checkpoints, telemetry: Telemetry) -> TrainState:
        return init_state(run.model, run.optimizer, jax.random.key(run.config.seed), run.partitioner)

    if latest is not None:
        return latest, restored
    return 0, initialized if source else random


def _announce(run: _Run, start_step: int, telemetry: Telemetry) -> None:
    """Say what is trained and, when resuming, what changed; save the configuration."""
    changes = run.directory.write_config(run.config) if multihost.is_leader() else []
    if start_step and changes:
        telemetry.message("changed since this run was started: " + "; ".join(changes))
    mesh = " x ".join(f"{axis}={size}" for axis, size in run.partitioner.mesh.shape.items() if size > 1)
    telemetry.message(
        f"{run.model.num_params:,} parameters, {jax.device_count()} {jax.devices()[0].platform} device(s)"
        f"{f' ({mesh})' if mesh else ''}, {run.pipeline.num_examples:,} examples an epoch, "
        f"{run.config.training.batch_size} x ({run.pipeline.encoder_length} + {run.pipeline.decoder_length}) "
        f"tokens a step → {run.directory.path}"
    )


def _compiled_step(run: _Run) -> Any:
    step = make_train_step(run.model, run.optimizer, run.config.step, seed=run.config.seed)
    return compile_train_step(step, run.model, run.optimizer, run.partitioner)


def _batches(run: _Run, start_step: int) -> Any:
    batch_size, loader = run.config.training.batch_size, run.config.loader
    sharding = run.partitioner.batch_sharding
    host_batches = run.pipeline.batches(
        batch_size=batch_size,
        start_step=start_step,
        rows=local_rows(sharding, batch_size),
        num_workers=loader.num_workers,
        num_steps=run.config.training.total_steps - start_step,
    )
    return device_batches(host_batches, sharding=sharding, prefetch=loader.prefetch)


def _evaluation(run: _Run) -> Callable[[TrainState], dict[str, float]] | None:
    if run.heldout is None:
        return None
    evaluate = heldout_evaluator(run.model, run.partitioner, run.heldout, run.config.evaluation)
    return lambda state: evaluate(state.params)

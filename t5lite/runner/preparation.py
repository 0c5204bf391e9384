"""What a run trains, and what it starts with: opened and checked as its plan says, nothing is written."""

import dataclasses
from collections.abc import Collection

import jax

from t5lite.adapters.base import united
from t5lite.checkpointing.partial import RestoreReport
from t5lite.checkpointing.reading import read_state
from t5lite.checkpointing.recovery import damage_messages, newest_readable
from t5lite.core.errors import ConfigError, DamagedCheckpointError, UserError
from t5lite.core.types import Tree
from t5lite.data.examples.pair_examples import frames_differ
from t5lite.partitioning import make_partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.adapted import check_saved_or_of_base, frozen_params
from t5lite.runner.beginning import Run, Start, origin_of
from t5lite.runner.config_changes import check_changes, check_names, config_changes
from t5lite.runner.continuing import damage_remedied
from t5lite.runner.epochs import with_steps_of_epochs
from t5lite.runner.heldout import check_best_is_measured, check_encoder_use, open_heldout
from t5lite.runner.initialization import Source, check_source, restore_adapter, restore_source
from t5lite.runner.planner import FindReturn, Planner
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_plan import RunPlan
from t5lite.runner.store_contents import store_contents
from t5lite.runner.tracking import check_trackers
from t5lite.runner.trained import check_trained_alike
from t5lite.runner.training_data import check_epochs, open_training_pipeline
from t5lite.runner.vocabulary_check import check_vocabulary
from t5lite.training.phases import Phases
from t5lite.training.state import abstract_state, init_state, state_from_params
from t5lite.training.step import check_batch_size, check_param_dtype


def prepare_start(
    config: RunConfig, phases: Phases, allowed: Collection[str], find_return: FindReturn
) -> tuple[Run, Start]:
    """Return what to train and where from: the newest checkpoint that is whole; nothing is written.

    Of a run that goes on from another the last that may be is where it began.
    """
    check_names(allowed)
    check_trackers(config)
    planner = Planner(config, find_return)
    may = planner.candidates()

    def start(plan: RunPlan) -> tuple[Run, Start]:
        run = _prepare(config, plan, allowed)
        with phases.enter("restore"):
            return run, _start(run)

    def start_at(step: int) -> tuple[Run, Start]:
        if step in may.steps:
            return start(planner.plan(step, may))
        try:
            plan = planner.plan(None, may)
        except UserError as error:  # that run is gone, say
            raise DamagedCheckpointError(str(error)) from error
        return start(plan)

    if not may.steps:
        with damage_remedied(config):
            return start(planner.plan(None, may))
    if config.checkpoints.on_damage == "stop":
        return start_at(may.steps[-1])
    origin = config.continue_from
    beginning = [origin.step] if origin and may.back is None and origin.step < may.steps[0] else []
    found = newest_readable([*beginning, *may.steps], start_at)
    run, begun = found.value
    plan = run.plan.passing_over(found.damaged, damage_messages(found))
    return dataclasses.replace(run, plan=plan), begun


def _prepare(config: RunConfig, plan: RunPlan, allowed: Collection[str]) -> Run:
    """Open the data and check that everything fits together; nothing is written."""
    directory, resumed = RunDirectory.at(config.run_dir), plan.resumed
    pipeline = open_training_pipeline(config, plan)
    check_vocabulary(pipeline.vocabulary, config.model)
    plan.earlier.check(directory, config.model, pipeline.vocabulary)
    config = with_steps_of_epochs(config, pipeline, plan)
    if plan.continued is not None and config.continue_from is not None:
        check_source(plan.continued, config.model, pipeline.vocabulary)
        config.continue_from.check(config.training.total_steps)
    check_epochs(pipeline, config, step=plan.step, position=plan.position)
    heldout = open_heldout(config, pipeline.vocabulary, pipeline.classes)
    check_best_is_measured(config, heldout)
    for name, evaluation in heldout.items():
        check_encoder_use(evaluation, config.model)
        if evaluation.config.task_in_training and jax.process_count() > 1:
            raise ConfigError(
                f"evaluations.{name}.task_in_training generates text in one process, and there are "
                f"{jax.process_count()}; leave it to `t5lite evaluate`"
            )
    contents = store_contents(config)
    changes = []
    if resumed:
        differ = frames_differ(config.model.architecture, pipeline.vocabulary)
        changes = config_changes(resumed, config, contents, frames_differ=differ)
    if resumed and resumed.step < config.training.total_steps:
        check_changes(
            changes,
            allowed=allowed,
            step=resumed.step,
            run=config.run_dir,
            continued=plan.continued and plan.continued.run,
        )
    if resumed is None and plan.source is not None:  # a run that resumes needs its source no more
        check_source(plan.source, config.model, pipeline.vocabulary)
    model = config.functional_model()
    if resumed is not None:
        check_trained_alike(resumed, config, model)
    optimizer = config.build_optimizer(model)
    check_param_dtype(model, optimizer)
    partitioner = make_partitioner(config.partitioning)
    partitioner.check(config.training.batch_size, config.model.head_counts)
    check_batch_size(config.training.batch_size, config.step.num_microbatches, partitioner)
    for evaluation in config.evaluations.values():
        check_batch_size(evaluation.batch_size, 1, partitioner)
    return Run(
        config=config,
        directory=directory,
        plan=plan,
        pipeline=pipeline,
        heldout=heldout,
        model=model,
        optimizer=optimizer,
        partitioner=partitioner,
        contents=contents,
        changes=changes,
    )


def _start(run: Run) -> Start:
    """Return where to start from, in this order of preference; nothing is written.

    1. the checkpoint that the plan resumes, its own or another run's: everything is restored;
    2. ``initialize_from``: its parameters, a new optimizer state, step 0;
    3. random parameters from ``seed``.

    Raises:
      CheckpointError: if the checkpoint is damaged or does not fit.
    """
    plan, directory = run.plan, run.directory.checkpoints
    if plan.continued is not None:
        directory = RunDirectory.at(plan.continued.run).checkpoints
    if plan.resumed is not None:
        whole = abstract_state(run.model, run.optimizer, run.partitioner)
        state = read_state(directory, plan.step, run.saved(whole))
        if plan.base is not None:
            frozen = frozen_params(plan.base, whole.params, state.params)
            state = dataclasses.replace(state, params=united(frozen, state.params))
        how = "resuming" if plan.continued is None else "going on, with all that is saved there,"
        return Start(state, f"{how} from step {plan.step} of {directory}")
    if plan.source is not None:
        params, report = _given_by(plan.source, run)
        origin = origin_of(report, plan.source.run, run.directory)
        return Start(state_from_params(params, run.model, run.optimizer, run.partitioner), origin, report)
    key = jax.random.key(run.config.seed)
    return Start(init_state(run.model, run.optimizer, key, run.partitioner))


def _given_by(source: Source, run: Run) -> tuple[Tree, RestoreReport]:
    """Return the parameters that a run begins with, all of which its checkpoints or its base will hold."""
    base, trained = run.plan.base, run.optimizer.trained(run.model.abstract_params)
    parts = source, run.model, run.partitioner, run.pipeline.classes
    if source.model.adaptation is not None:
        params, report = restore_adapter(*parts, trained=trained, seed=run.config.seed)
    else:
        params, report = restore_source(*parts, seed=run.config.seed, is_adapted=base is not None)
    if base is not None:
        check_saved_or_of_base(report, trained)
    return params, report

"""What a run would train, and where it would start from: all is opened and checked, nothing is written."""

import dataclasses
from collections.abc import Collection

import jax

from t5lite.checkpointing.reading import available_steps, read_state
from t5lite.checkpointing.recovery import damage_messages, newest_readable
from t5lite.core.errors import ConfigError
from t5lite.models.functional import build
from t5lite.partitioning import make_partitioner
from t5lite.partitioning.agreed_errors import in_all_or_none, leaders_result
from t5lite.run_config import RunConfig
from t5lite.runner.beginning import Run, Start, origin_of
from t5lite.runner.config_changes import check_changes, check_names, config_changes
from t5lite.runner.config_history import ConfigHistory, read_config_history
from t5lite.runner.going_back import Return, candidates, went_back_to
from t5lite.runner.heldout import check_encoder_use, open_heldout
from t5lite.runner.initialization import check_source, restore_source
from t5lite.runner.resumption import resumption
from t5lite.runner.rollback import left_out
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.store_contents import store_contents
from t5lite.runner.tracking import check_trackers
from t5lite.runner.trained import check_trained_alike
from t5lite.runner.training_data import check_epochs, open_training_pipeline
from t5lite.runner.vocabulary_check import check_vocabulary
from t5lite.training.metrics_log import METRICS_FILE, read_metrics
from t5lite.training.phases import Phases
from t5lite.training.state import abstract_state, init_state, state_from_params
from t5lite.training.step import check_batch_size, check_param_dtype


def plan_start(
    config: RunConfig, phases: Phases, allowed: Collection[str], back: Return | None
) -> tuple[Run, Start]:
    """Return what to train and where from: the newest checkpoint that is whole; nothing is written."""
    check_names(allowed)
    directory = RunDirectory.at(config.run_dir)

    def plan(latest: int | None) -> tuple[Run, Start]:
        run = _prepare(config, latest, allowed)
        with phases.enter("restore"):
            return run, _start(run, latest)

    # A shared disk shows other processes what was written some time later.
    steps = leaders_result(lambda: available_steps(directory.checkpoints))
    may = candidates(directory, steps, back)
    if not may.steps or config.checkpoints.on_damage == "stop":
        run, start = plan(may.steps[-1] if may.steps else None)
        damaged, messages = (), ()
    else:
        found = newest_readable(may.steps, plan)
        (run, start), damaged, messages = found.value, found.damaged, damage_messages(found)
    went_back = may.went_back
    if went_back is None and may.steps:
        went_back = went_back_to(directory, start.step)
    return run, dataclasses.replace(
        start,
        set_aside=(*may.left, *damaged),
        num_damaged=len(damaged),
        messages=(*messages, *([may.note] if may.note else [])),
        went_back=went_back,
    )


def _prepare(config: RunConfig, latest: int | None, allowed: Collection[str]) -> Run:
    """Open the data and check that everything fits together; nothing is written."""
    check_param_dtype(config.execution)
    check_trackers(config)
    directory = RunDirectory.at(config.run_dir)
    resumed = None
    if latest is not None:
        resumed = in_all_or_none(lambda: resumption(directory, latest))
    _check_steps(directory, config, latest)
    pipeline = open_training_pipeline(config, directory, resumed, left_out(directory, resumed))
    check_vocabulary(pipeline.vocabulary, config.model)
    directory.check_model(config.model, pipeline.vocabulary)
    directory.check_config()
    check_epochs(pipeline, config, resumed)
    heldout = open_heldout(config, pipeline.vocabulary, pipeline.classes)
    for evaluation in heldout.values():
        check_encoder_use(evaluation, config.model)
    contents = store_contents(config)
    changes = config_changes(resumed, config, contents) if resumed else []
    if resumed and resumed.step < config.training.total_steps:
        check_changes(changes, allowed=allowed, step=resumed.step, run=config.run_dir)
    if resumed is None:  # a run that resumes needs its source no more
        check_source(config, pipeline.vocabulary)
    model = build(config.model, config.execution)
    if resumed is not None:
        check_trained_alike(resumed, config, model)
    optimizer = config.build_optimizer(model)
    partitioner = make_partitioner(config.partitioning)
    partitioner.check(config.training.batch_size, config.model.head_counts)
    check_batch_size(config.training.batch_size, config.step.num_microbatches, partitioner)
    for evaluation in config.evaluations.values():
        check_batch_size(evaluation.batch_size, 1, partitioner)
    history = read_config_history(directory.config_history_file) if resumed else ConfigHistory()
    return Run(
        config=config,
        directory=directory,
        resumed=resumed,
        pipeline=pipeline,
        heldout=heldout,
        model=model,
        optimizer=optimizer,
        partitioner=partitioner,
        contents=contents,
        changes=changes,
        history=history.resumed(resumed, changes) if resumed else history,
    )


def _check_steps(directory: RunDirectory, config: RunConfig, latest: int | None) -> None:
    """Check that a run that resumes from the step ``latest`` is not beyond its end.

    Raises:
      ConfigError: naming the step that it has reached.
    """
    total_steps = config.training.total_steps
    if latest is not None and latest > total_steps:
        raise ConfigError(
            f"run_dir={directory.path} is at step {latest}, beyond training.total_steps={total_steps}; use "
            f"more than {latest} steps to train on, or another run_dir to start anew"
        )


def _start(run: Run, latest: int | None) -> Start:
    """Return where to start from, in this order of preference; nothing is written.

    1. the checkpoint ``latest`` of this run: everything is restored;
    2. ``initialize_from``: its parameters, a new optimizer state, step 0;
    3. random parameters from ``seed``.

    Raises:
      CheckpointError: if the checkpoint is damaged or does not fit.
      DataError: if the metrics that a run has written are damaged.
    """
    directory, source = run.directory.checkpoints, run.config.initialize_from
    if latest is not None:
        entries = read_metrics(run.directory.path / METRICS_FILE)  # damage is told before anything is written
        state = read_state(directory, latest, abstract_state(run.model, run.optimizer, run.partitioner))
        evaluations = tuple(e for e in entries if e["kind"] == "eval" and e["step"] <= latest)
        return Start(latest, state, f"resuming from step {latest} of {directory}", evaluations=evaluations)
    if source is not None:
        classes = run.pipeline.classes
        params, report = restore_source(run.config, run.model, run.partitioner, classes)
        origin = origin_of(report, source.run, run.directory)
        state = state_from_params(params, run.model, run.optimizer, run.partitioner)
        return Start(0, state, origin, report)
    key = jax.random.key(run.config.seed)
    return Start(0, init_state(run.model, run.optimizer, key, run.partitioner))

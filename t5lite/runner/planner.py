"""How the leader makes the plan of a run: from one reading of the run directory, for every process."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias

from t5lite.core.errors import ConfigError
from t5lite.run_config import RunConfig
from t5lite.runner.config_history import ConfigHistory, read_config_history
from t5lite.runner.continuing import find_continued, past_of
from t5lite.runner.earlier_run import EarlierRun, earlier_run
from t5lite.runner.going_back import Candidates, Return, candidates
from t5lite.runner.initialization import Source, find_source
from t5lite.runner.planned_base import planned_base
from t5lite.runner.resumption import Resumption, resumption
from t5lite.runner.rollback import Rollbacks, read_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_plan import RunPlan, as_the_leader_finds
from t5lite.runner.snapshot import Snapshot

FindReturn: TypeAlias = Callable[[Snapshot], Return | None]
"""Finds what a start is told to go back to; called in the leader alone."""


class Planner:
    """Plans one start of a run. All processes call it alike; the leader alone reads.

    Args:
      config: of the run.
      find_return: says what the start is told to go back to.
    """

    def __init__(self, config: RunConfig, find_return: FindReturn) -> None:
        self._config, self._find_return = config, find_return
        self._found = Snapshot(RunDirectory.at(config.run_dir))

    def candidates(self) -> Candidates:
        """Return the checkpoints that the run may go on from.

        Raises:
          CheckpointError: if there is none that it is told to go back to.
        """
        found = self._found
        return as_the_leader_finds(Candidates, lambda: candidates(found, self._find_return(found)))

    def plan(self, step: int | None, may: Candidates) -> RunPlan:
        """Return the plan of a run that goes on from ``step``; None: of one that begins.

        Args:
          step: one of the candidates, if there is any.
          may: the candidates.

        Raises:
          CheckpointError: if what the checkpoint says of itself is damaged.
          UserError: if another file is damaged, or ``initialize_from`` cannot be used.
        """
        return as_the_leader_finds(RunPlan, lambda: self._plan(step, may))

    def _plan(self, step: int | None, may: Candidates) -> RunPlan:
        found = self._found
        resumed = None if step is None else resumption(found, step)
        _check_step(self._config, resumed)
        continued = past = None
        if resumed is None and (of_another := self._continued) is not None:
            continued, resumed, found = of_another
            past = past_of(found, resumed.step)
        source = self._source if resumed is None else self._source_of_lost_files(found)
        own_eos_ids = found.model.eos_ids if resumed and found.has_model else None
        from_source = source.model.eos_ids if source else ()
        return RunPlan(
            earlier=self._earlier,
            resumed=resumed,
            source=source,
            continued=continued,
            past=past,
            base=planned_base(self._config, resumed, source),
            classes=found.classes if resumed else None,
            eos_ids=from_source if own_eos_ids is None else own_eos_ids,
            is_imported=self._is_imported(found, resumed, source),
            left_out=self._rollbacks.left_out(resumed),
            history=_history(found) if resumed else ConfigHistory(),
            evaluations=_evaluations(found, resumed) if resumed else (),
            back=may.back,
            set_aside=may.left,
            messages=tuple(filter(None, (may.note, self._unkept(resumed.step if resumed else 0)))),
        )

    def _unkept(self, step: int) -> str | None:
        """Return what to say of steps to keep that a run which starts from ``step`` will not come to."""
        total_steps = None if self._config.training.epochs else self._config.training.total_steps
        kept, there = self._config.checkpoints.keep_steps, self._found.steps
        lost = [each for each in kept if each <= step and each not in there]
        lost += [each for each in kept if total_steps is not None and each > total_steps]
        if not lost:
            return None
        of = "" if total_steps is None else f" of training.total_steps={total_steps}"
        return (
            f"note: checkpoints.keep_steps names {', '.join(map(str, lost))}, which will not be saved: the "
            f"run goes from step {step} to its end{of}"
        )

    def _is_imported(self, found: Snapshot, resumed: Resumption | None, source: Source | None) -> bool | None:
        if resumed and found.has_model and found.model.is_imported is not None:
            return found.model.is_imported
        if source is not None:
            return source.model.is_imported
        return False if self._config.initialize_from is None else None

    @cached_property
    def _earlier(self) -> EarlierRun:
        return earlier_run(self._found)

    @cached_property
    def _rollbacks(self) -> Rollbacks:
        return read_rollbacks(self._found.directory)

    @cached_property
    def _source(self) -> Source | None:
        named = self._config.initialize_from
        return None if named is None else find_source(named)

    @cached_property
    def _continued(self) -> tuple[Source, Resumption, Snapshot] | None:
        return find_continued(self._config)

    def _source_of_lost_files(self, found: Snapshot) -> Source | None:
        """What a run that resumes needs its source for: what only files say that it has lost."""
        named = self._config.initialize_from
        has_classes = self._config.model.num_named_labels is None or found.classes is not None
        if named is None or (has_classes and found.has_model):
            return None
        return find_source(named, gives_parameters=False)


def _check_step(config: RunConfig, resumed: Resumption | None) -> None:
    """Check that a run that resumes is not beyond its end; what epochs come to only its data tells.

    Raises:
      ConfigError: naming the step that it has reached.
    """
    total_steps = config.training.total_steps
    if config.training.epochs is None and resumed is not None and resumed.step > total_steps:
        raise ConfigError(
            f"run_dir={config.run_dir} is at step {resumed.step}, beyond training.total_steps={total_steps}; "
            f"use more than {resumed.step} steps to train on, or another run_dir to start anew"
        )


def _history(found: Snapshot) -> ConfigHistory:
    return read_config_history(found.directory.config_history_file)


def _evaluations(found: Snapshot, resumed: Resumption) -> tuple[dict[str, Any], ...]:
    """Return what was measured up to where the run goes on."""
    entries = found.metrics
    return tuple(each for each in entries if each["kind"] == "eval" and each["step"] <= resumed.step)

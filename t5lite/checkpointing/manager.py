"""Save checkpoints while training goes on, keep the right ones, and restore them."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from t5lite.checkpointing import orbax_threads, reading
from t5lite.checkpointing.finiteness import nonfinite_leaves
from t5lite.checkpointing.recovery import remove, remove_set_aside, set_aside
from t5lite.checkpointing.retention import best_steps, steps_to_remove
from t5lite.checkpointing.save_barrier import SaveBarrier, cause_of
from t5lite.core.errors import (
    ConfigError,
    DamagedCheckpointError,
    NumbersError,
    TransientError,
    suggestion,
)
from t5lite.core.metric_order import lower_is_better
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.types import Tree
from t5lite.partitioning import multihost


class SaveFailedError(TransientError):
    """A checkpoint was not written, or is not there to be read."""

    def __init__(self, directory: epath.PathLike, step: int, error: Exception) -> None:
        self.step, self.cause = step, cause_of(error)
        super().__init__(
            f"step {step} could not be saved to {directory} ({self.cause}); check free space and "
            "permissions, then run the same command again: it resumes from the newest finished checkpoint"
        )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When a run saves and which checkpoints it keeps."""

    save_every_steps: int = 1000
    """Steps between saves; the end of the run and a preemption always save."""
    save_every_minutes: float | None = None
    """Also save when so much time has passed since the last save; None goes by steps alone."""
    keep_last: int = 2
    """Newest checkpoints that are kept. A training also keeps the newest whose parameters later steps have
    vouched for: with 1, that is the one before."""
    keep_every_steps: int | None = None
    """Also keep, for good, the checkpoints whose step is a multiple of this; None keeps only the newest."""
    keep_steps: tuple[int, ...] = ()
    """Also save after these steps, and keep what is saved there for good: another run may go on from there
    (``continue_from``)."""
    keep_best: int = 0
    """Also keep this many checkpoints, those with the best held-out ``best_metric`` that is known so far."""
    best_metric: str = "loss"
    """What makes a checkpoint the best one: a metric of the first evaluation, or NAME/METRIC of another."""
    best_is: Literal["lowest", "highest"] | None = None
    """Which values of it are better; None goes by its name: the lowest of a loss, the highest of a score."""
    on_damage: Literal["fall_back", "stop"] = "fall_back"
    """Where the newest checkpoint is damaged, go on from the newest older one that is whole, or stop."""
    on_save_failure: Literal["continue", "stop"] = "continue"
    """Where a save fails, or metrics cannot be written, train on and try again, or stop with exit code 75; a
    run whose last save fails stops so in any case."""

    @property
    def best_evaluation(self) -> str | None:
        """The evaluation that ``best_metric`` names; None where it names none, which is the first."""
        return self.best_metric.rpartition("/")[0] or None

    @property
    def best_value(self) -> str:
        """What of that evaluation makes a checkpoint the best one."""
        return self.best_metric.rpartition("/")[2]

    @property
    def highest_is_best(self) -> bool:
        """Whether higher values of it are better."""
        return not lower_is_better(self.best_value) if self.best_is is None else self.best_is == "highest"

    def __post_init__(self) -> None:
        if self.save_every_steps < 1:
            raise ConfigError(f"checkpoints.save_every_steps={self.save_every_steps} must be 1 or more")
        if self.save_every_minutes is not None and not self.save_every_minutes > 0:
            raise ConfigError(
                f"checkpoints.save_every_minutes={self.save_every_minutes} must be positive, or None"
            )
        if early := [step for step in self.keep_steps if step < 1]:
            raise ConfigError(f"checkpoints.keep_steps has {early[0]}; steps are 1 or more")
        if self.keep_best < 0:
            raise ConfigError(f"checkpoints.keep_best={self.keep_best} must be 0 (none) or more")
        if self.keep_last < 1:
            raise ConfigError(
                f"checkpoints.keep_last={self.keep_last} must be 1 or more: resuming needs the newest"
            )
        if self.keep_every_steps is not None and (
            self.keep_every_steps < 1 or self.keep_every_steps % self.save_every_steps
        ):
            raise ConfigError(
                f"checkpoints.keep_every_steps={self.keep_every_steps} must be a multiple of "
                f"save_every_steps={self.save_every_steps}, or None"
            )


class _Manager(ocp.CheckpointManager):
    """Orbax's, whose saves fail in all processes or in none, and without its own question whether to stop.

    JAX's preemption service counts the questions: two who ask, each by a count of its own, and the place at
    which all processes are to stop may be one that nobody comes by any more.
    """

    def __init__(self, directory: epath.Path, handlers: Mapping[str, ocp.CheckpointHandler]) -> None:
        self._barrier = SaveBarrier() if jax.process_count() > 1 else None
        # Orbax is not asked to remove any: it would before the new one was read back.
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True, async_options=ocp.AsyncOptions(barrier_sync_fn=self._barrier)
        )
        super().__init__(directory, options=options, item_handlers=dict(handlers))

    def begin(self, step: int, args: ocp.args.Composite) -> None:
        """Begin to save in the background what the leader does not find there."""
        # A shared disk may have shown it to this process after the leader had taken it away.
        self._checkpoints.delete_if(lambda info: info.step == step)
        if self._barrier is not None:
            self._barrier.begin()
        self.save(step, args=args, force=True)

    def _configure_checkpointer_common(
        self, handler: ocp.CompositeCheckpointHandler, options: ocp.CheckpointManagerOptions, use_async: bool
    ) -> ocp.Checkpointer:
        """Let a save write its own times as a part of it, so that where they cannot be written it fails.

        By default they are written beside it, and where that fails Orbax leaves before the wait below.
        """
        self._non_blocking_metadata_store = self._blocking_metadata_store
        return super()._configure_checkpointer_common(handler, options, use_async)

    def _wait_for_checkpointers(self) -> None:
        """Wait, in the background, until this process has done its part of a save."""
        try:
            super()._wait_for_checkpointers()
        except BaseException as error:
            if self._barrier is not None:
                orbax_threads.end_waiting()
                self._barrier.fail(error)
            raise

    def reached_preemption(self, step: int) -> bool:
        """Return False: the training loop asks, at the same places in every process."""
        del step
        return False


class Checkpoints:
    """The checkpoints of one run. A context manager: leaving it waits for the save under way.

    A save is atomic: it is written under a temporary name and renamed when complete, so that a killed run
    leaves only whole checkpoints. What it left unfinished is removed while the next start goes on, before its
    first save. It counts as done once its names and shapes were read back; only then older ones are removed,
    and none after an error in the block. On many hosts every process must make the same calls.

    Args:
      directory: of the run's checkpoints.
      config: when to save and what to keep.
      max_host_bytes: of ``reading.array_handler``: slower saves in less memory.

    Raises:
      ConfigError: if no checkpoint can be in a directory of that name.
    """

    def __init__(
        self, directory: epath.PathLike, config: CheckpointConfig, *, max_host_bytes: int | None = None
    ) -> None:
        self.directory = checkpoint_path(directory)
        self.config = config
        self.notes: list[str] = []
        """What the user should be told, a line each; whoever says it takes it out."""
        self._unread: tuple[int, dict[str, tuple[int, ...]]] | None = None
        self._num_polls, self._is_alone = 0, False
        self._last_good_step: int | None = None
        self._may_remove = multihost.is_leader()
        self._scores: dict[int, float] = {}
        self._restore_noise, self._has_failed = reading.silence_orbax(), False
        self._manager = _Manager(
            self.directory,
            {
                "state": reading.array_handler(max_host_bytes),
                "fingerprints": ocp.JsonCheckpointHandler(),
                "metadata": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
            return
        # It may be that the directory is another run's now, so nothing in it is removed any more. And of an
        # error in the block, which says what to do, that of a save must not take the place.
        self._may_remove = False
        self._is_alone = True  # the others may be anywhere
        with contextlib.suppress(SaveFailedError):
            self.close()

    def save(
        self, step: int, state: Tree, metadata: Mapping[str, Any], *, last_good_step: int | None = None
    ) -> bool:
        """Start to save ``state`` as ``step`` and return whether it was not there already.

        Returns once the arrays are copied to host memory (waiting for an earlier save first); ``state`` may
        be donated after that. Writing goes on in the background.

        Args:
          step: number of steps done, the same as in ``state``.
          state: any pytree of arrays, stored as a nested dict by its names.
          metadata: JSON-able: the resolved configuration and what else describes the run.
          last_good_step: the newest step whose parameters later steps have vouched for: the newest
            checkpoint up to it is kept. None where nothing is known.

        Raises:
          SaveFailedError: if this save cannot begin, or the earlier one under way failed (disk full, no
            permission; or it cannot be read back). What is there stays, and the next save may succeed.
          TransientError: if it cannot begin in one of several processes.
          NumbersError: if an array holds NaN or infinity: nothing is saved then, and nothing removed.
        """
        self.wait()
        if multihost.as_the_leader_says(step in self._manager.all_steps()):
            return False
        arrays = reading.nested_dict(state)
        if nonfinite := nonfinite_leaves(arrays):
            raise NumbersError(
                f"step {step} is not saved: {len(nonfinite)} of its {len(jax.tree.leaves(arrays))} arrays "
                f"hold NaN or infinity ({reading.listed(nonfinite)}); earlier checkpoints are as they were; "
                "where training brought it about, lower the learning rate or set step.max_gradient_norm"
            )
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays),
            fingerprints=ocp.args.JsonSave(reading.named_fingerprints(arrays)),
            metadata=ocp.args.JsonSave(reading.sealed_metadata(metadata)),
        )
        self._last_good_step = last_good_step
        try:
            self._manager.begin(step, arguments)
        except TypeError:  # the metadata is no JSON, say
            raise
        except Exception as error:
            self._clean_up(step, error, alone=True)
            failed = SaveFailedError(self.directory, step, error)
            # The other processes wait for this one, and only a new start brings them together again.
            raise (failed if jax.process_count() == 1 else TransientError(str(failed))) from error
        self._num_polls = 0
        names = reading.leaf_names(arrays)
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(arrays)]
        self._unread = step, dict(zip(names, shapes, strict=True))
        return True

    def poll(self) -> bool:
        """Return whether a save has ended since it was last asked, without waiting for one.

        Several processes, who must agree, do so at the 1st, 2nd, 4th, 8th ... question of a save: seldom, and
        late by no more than the save took.

        Raises:
          SaveFailedError: if that save failed, once.
        """
        if self._unread is None:
            return False
        self._num_polls += 1
        if jax.process_count() > 1 and self._num_polls.bit_count() > 1:
            return False
        return not multihost.any_process(self._manager.is_saving_in_progress()) and self.wait()

    def wait(self) -> bool:
        """Block until the save under way is on disk and was read back by name; remove what is kept no more.

        Returns:
          Whether there was one.

        Raises:
          SaveFailedError: if it failed, once.
        """
        if self._unread is None:
            return False
        (step, shapes), self._unread = self._unread, None
        error = self._error_of(step, shapes)
        if not self._is_alone and multihost.any_process(error is not None):
            error = error or RuntimeError("process 0 cannot read it back")
        if error is not None:
            self._clean_up(step, error, alone=self._is_alone)
            raise SaveFailedError(self.directory, step, error) from error
        if self._may_remove:
            self._remove_superfluous(step)
        return True

    def _error_of(self, step: int, shapes: Mapping[str, tuple[int, ...]]) -> Exception | None:
        """Wait for a save; return what Orbax, or whatever its storage layer is, raised in this process."""
        try:
            self._manager.wait_until_finished()
            if multihost.is_leader():  # which puts the checkpoint in place
                reading.check_saved(self.directory, step, shapes)
        except TypeError:  # the metadata is no JSON, say
            raise
        except Exception as error:
            return error
        return None

    def _remove_superfluous(self, saved: int) -> None:
        """Remove what the rules keep no more now that ``saved`` is there; where that fails, try later."""
        try:
            self._remove_unfinished()
            remove_set_aside(self.directory, up_to=saved)
            superfluous = steps_to_remove(
                reading.available_steps(self.directory),
                keep_last=self.config.keep_last,
                keep_every=self.config.keep_every_steps,
                keep=self.config.keep_steps,
                last_good_step=self._last_good_step,
                best=self._best_steps(),
            )
            remove(self.directory, superfluous)
        except (OSError, TransientError) as error:
            self.notes.append(f"step {saved} is saved, but older checkpoints cannot be removed ({error})")

    def record_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take note of what the parameters of ``step`` reach in the evaluation that says what is best.

        Raises:
          ConfigError: if the best are to be kept and there is no such metric.
        """
        name = self.config.best_value
        if self.config.keep_best and name not in metrics:
            raise ConfigError(
                f"checkpoints.best_metric={self.config.best_metric!r} is not measured"
                f"{suggestion(name, metrics)}"
            )
        value = metrics.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            self._scores[step] = value

    def _best_steps(self) -> list[int]:
        there = set(reading.available_steps(self.directory))
        scores = {step: score for step, score in self._scores.items() if step in there}
        return best_steps(scores, self.config.keep_best, highest=self.config.highest_is_best)

    def _clean_up(self, step: int, error: Exception, *, alone: bool) -> None:
        """Remove what a save left that failed, in this process alone or in all of them."""
        self._has_failed = True
        orbax_threads.end_waiting()
        with contextlib.suppress(OSError, TransientError):
            self._remove_unfinished()
            if isinstance(error, DamagedCheckpointError) and self._may_remove:
                remove(self.directory, [step])
        if not alone:
            multihost.barrier("failed save")
        with contextlib.suppress(OSError, TransientError):
            self._manager.reload()

    def _remove_unfinished(self) -> None:
        """Remove what saves left that failed, while none is under way: it takes space for nothing.

        Of a save that has just failed, other parts may still be written; they go after the next save.
        """
        for path in self.directory.iterdir() if self._may_remove else ():
            if ".orbax-checkpoint-tmp" in path.name:
                with contextlib.suppress(OSError):
                    path.rmtree()

    def latest_step(self) -> int | None:
        """Return the newest finished step, or None."""
        steps = reading.available_steps(self.directory)
        return steps[-1] if steps else None

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """Return the metadata saved with ``step`` (default: the newest).

        Raises:
          CheckpointError: if there is no such checkpoint or it is damaged.
        """
        return reading.read_metadata(self.directory, reading.resolve_step(self.directory, step))

    def restore(self, abstract_state: Tree, step: int | None = None) -> Tree:
        """Return the state saved as ``step`` (default: the newest) in the structure of ``abstract_state``.

        Args:
          abstract_state: ``ShapeDtypeStruct``s with shardings. The mesh and the dtypes may differ from those
            that were saved.
          step: which checkpoint.

        Raises:
          CheckpointError: if there is none, if it belongs to another model (lists the leaves that differ), or
            if it is damaged.
        """
        self.wait()
        return reading.read_state(self.directory, reading.resolve_step(self.directory, step), abstract_state)

    def set_aside_after(self, step: int) -> None:
        """Take all checkpoints of later steps out of the way: training goes on from ``step``."""
        self.wait()
        if multihost.is_leader():
            later = [other for other in reading.available_steps(self.directory) if other > step]
            set_aside(self.directory, later)
        multihost.barrier("set aside")
        self._manager.reload()

    def close(self) -> None:
        """Wait for the save under way and release the background threads."""
        try:
            self.wait()
            if not self._has_failed:
                self._restore_noise()
        finally:
            self._manager.close()

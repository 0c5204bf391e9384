"""Save checkpoints while training goes on, keep the right ones, and restore them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from t5lite.checkpointing import reading
from t5lite.checkpointing.finiteness import nonfinite_leaves
from t5lite.checkpointing.recovery import Found, newest_readable, remove_set_aside, set_aside
from t5lite.checkpointing.retention import NewestGood
from t5lite.core.errors import CheckpointError, ConfigError, NumbersError
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.types import Tree
from t5lite.partitioning import multihost


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When a run saves and which checkpoints it keeps."""

    save_every_steps: int = 1000
    """Steps between saves; the end of the run and a preemption always save."""
    keep_last: int = 2
    """Newest checkpoints that are kept. A training also keeps the newest whose parameters later steps have
    vouched for: with 1, that is the one before."""
    keep_every_steps: int | None = None
    """Also keep, for good, the checkpoints whose step is a multiple of this; None keeps only the newest."""
    on_damage: Literal["fall_back", "stop"] = "fall_back"
    """Where the newest checkpoint is damaged, go on from the newest older one that is whole, or stop."""

    def __post_init__(self) -> None:
        if self.save_every_steps < 1:
            raise ConfigError(f"checkpoints.save_every_steps={self.save_every_steps} must be 1 or more")
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


class Checkpoints:
    """The checkpoints of one run. A context manager: leaving it waits for the save under way.

    A save is atomic: it is written under a temporary name and renamed when complete, so that a killed run
    leaves only whole checkpoints. What it left unfinished is removed while the next start goes on, before its
    first save. It counts as done once its names and shapes were read back. On many hosts every process must
    make the same calls.

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
        self._newest_good = NewestGood()
        keep: list[policies.PreservationPolicy] = [policies.LatestN(config.keep_last), self._newest_good]
        if config.keep_every_steps is not None:
            keep.append(policies.EveryNSteps(config.keep_every_steps))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(keep),
            cleanup_tmp_directories=True,
        )
        self._unread: tuple[int, dict[str, tuple[int, ...]]] | None = None
        self._restore_noise = reading.silence_orbax()
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=options,
            item_handlers={
                "state": reading.array_handler(max_host_bytes),
                "fingerprints": ocp.JsonCheckpointHandler(),
                "metadata": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
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
          CheckpointError: if the earlier save under way failed (disk full, no permission; or it cannot be
            read back).
          NumbersError: if an array holds NaN or infinity: nothing is saved then, and nothing removed.
        """
        self.wait()
        if step in self._manager.all_steps():
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
            metadata=ocp.args.JsonSave(dict(metadata)),
        )
        self._newest_good.last_good_step = last_good_step
        try:
            self._manager.save(step, args=arguments, force=True)
        except OSError as error:
            raise self._save_failed(error) from error
        names = reading.leaf_names(arrays)
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(arrays)]
        self._unread = step, dict(zip(names, shapes, strict=True))
        return True

    def wait(self) -> None:
        """Block until the save under way is on disk and was read back by name.

        Raises:
          CheckpointError: if it failed.
        """
        saved, self._unread = self._unread, None
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._save_failed(error) from error
        if saved is not None and jax.process_index() == 0:  # which puts the checkpoint in place
            reading.check_saved(self.directory, *saved)
            remove_set_aside(self.directory, up_to=saved[0])

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

    def restore_newest(self, abstract_state: Tree) -> Found[Tree]:
        """Return the state of the newest checkpoint that is whole; nothing is changed.

        Args:
          abstract_state: as of ``restore``.

        Raises:
          CheckpointError: if there is none that can be read, or it belongs to another model.
        """
        self.wait()
        reading.resolve_step(self.directory, None)
        return newest_readable(
            reading.available_steps(self.directory), lambda step: self.restore(abstract_state, step)
        )

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
            self._restore_noise()
        finally:
            self._manager.close()

    def _save_failed(self, error: Exception) -> CheckpointError:
        cause = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        return CheckpointError(
            f"a checkpoint could not be written to {self.directory} ({cause}); check free space and "
            "permissions, then run the same command again: it resumes from the newest finished checkpoint"
        )

"""Go on from the newest checkpoint that is whole, or from an older one, without losing what is newer.

Checkpoints that a run does not go on from (damaged, or newer than the step it goes back to) are renamed to
``<step>.set-aside``: neither Orbax nor a later start takes that for a checkpoint, the same step can be saved
again, and no retention counts it. They are removed once a later save, of their step or beyond, is on disk.
"""

import re
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from etils import epath

from t5lite.core.errors import CheckpointError, DamagedCheckpointError
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.storage.remote_path import RemotePath

SET_ASIDE = ".set-aside"
_COMMIT_FILE = "commit_success.txt"
"""In a bucket, the object without which Orbax takes the others for a save that is under way."""

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Found(Generic[Value]):
    """The newest checkpoint that could be read."""

    step: int
    value: Value
    """What was made of it."""
    damaged: tuple[int, ...] = ()
    """Newer steps that could not be read, newest first."""
    reasons: tuple[str, ...] = ()
    """Of each of them, the error."""


def newest_readable(steps: Sequence[int], read: Callable[[int], Value]) -> Found[Value]:
    """Return what ``read`` makes of the newest of ``steps`` that is whole. All processes get the same step.

    Args:
      steps: one or more, ascending.
      read: reads a step in all processes, and raises ``DamagedCheckpointError`` in all of them or in none.

    Raises:
      CheckpointError: if none can be read.
      ReportedError: what else ``read`` raises.
    """
    errors: list[DamagedCheckpointError] = []
    for step in reversed(steps):
        try:
            value = read(step)
        except DamagedCheckpointError as error:
            _forget_frames(error)
            errors.append(error)
            continue
        return Found(
            step=step,
            value=value,
            damaged=tuple(reversed(steps))[: len(errors)],
            reasons=tuple(map(str, errors)),
        )
    if len(errors) == 1:
        raise errors[0]
    raise CheckpointError(
        f"none of the {len(errors)} checkpoints can be read (steps {', '.join(map(str, steps))}); of the "
        f"newest: {without_remedy(str(errors[0]))}; bring one back from a copy, or start over in another "
        "run_dir"
    )


def _forget_frames(error: BaseException) -> None:
    """Let go of what was read when it came out: the frames of an error hold it, and two states do not fit."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__


def damage_messages(found: Found[Value]) -> tuple[str, ...]:
    """Return what to say of the checkpoints that were passed over; nothing where the newest was whole."""
    if not found.damaged:
        return ()
    lost = found.damaged[0] - found.step
    return (
        *(f"note: {without_remedy(reason)}" for reason in found.reasons),
        f"note: going on from step {found.step}, {lost} steps are trained again; what cannot be read is kept "
        f"as STEP{SET_ASIDE} until that step or a later one is saved",
    )


def without_remedy(message: str) -> str:
    """Return what an error of ``reading`` says but for what to do, its last clause."""
    return message.rpartition(";")[0]


def set_aside(directory: epath.PathLike, steps: Collection[int]) -> None:
    """Take these steps out of the checkpoints, the newest first; call it in one process.

    Should it be cut off, those that are left are older than those that have gone.
    """
    root = checkpoint_path(directory)
    for step in sorted(steps, reverse=True):
        path, target = root / str(step), root / f"{step}{SET_ASIDE}"
        if target.exists():
            target.rmtree()
        if isinstance(path, RemotePath) and isinstance(target, RemotePath):
            path.copy_tree(target)
            _remove_remote(path)
        else:
            path.rename(target)


def remove(directory: epath.PathLike, steps: Collection[int]) -> None:
    """Remove checkpoints; call it in one process. Cut off, it leaves none that looks whole and is not."""
    root = checkpoint_path(directory)
    for step in sorted(steps):
        path = root / str(step)
        if isinstance(path, RemotePath):
            _remove_remote(path)
        else:
            set_aside(root, [step])
            (root / f"{step}{SET_ASIDE}").rmtree()


def remove_set_aside(directory: epath.PathLike, up_to: int) -> None:
    """Remove what was set aside of steps up to this one; call it in one process."""
    root = checkpoint_path(directory)
    for path in root.iterdir() if root.exists() else ():
        found = re.fullmatch(rf"(\d+){re.escape(SET_ASIDE)}", path.name)
        if found and int(found[1]) <= up_to:
            path.rmtree()


def _remove_remote(checkpoint: RemotePath) -> None:
    (checkpoint / _COMMIT_FILE).unlink(missing_ok=True)
    checkpoint.rmtree()

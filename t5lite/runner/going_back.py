"""Which checkpoints a run may go on from, where it is told to go back to an older one."""

from dataclasses import dataclass

from t5lite.checkpointing.reading import read_metadata, resolve_step
from t5lite.checkpointing.recovery import SET_ASIDE
from t5lite.core.errors import CheckpointError
from t5lite.runner.run_directory import RunDirectory

FROM_STEP = "from_step"
"""In the metadata of a checkpoint, the step that its run was told to go back to."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The checkpoints that a run may go on from."""

    steps: list[int]
    """Ascending; the newest that is whole is taken."""
    left: tuple[int, ...] = ()
    """Newer ones that it is not to go on from."""
    from_step: int | None = None
    """The step that the run was told to go back to."""
    note: str | None = None


def candidates(directory: RunDirectory, steps: list[int], from_step: int | None) -> Candidates:
    """Return what a run may go on from: any of ``steps``, or ``from_step``, to which it is told to go back.

    A scheduler starts the same command again and again. So a run that has gone back to a step, and has saved
    a later one since, goes on from that.

    Raises:
      CheckpointError: if there is no checkpoint of ``from_step``.
    """
    if from_step is None:
        return Candidates(steps=steps)
    resolve_step(directory.checkpoints, from_step)
    newest = steps[-1]
    if newest > from_step and went_back_to(directory, newest) == from_step:
        note = (
            f"the run has gone back to step {from_step} before and goes on from there; to go back once more, "
            "move the later checkpoints away"
        )
        return Candidates(steps=steps, from_step=from_step, note=note)
    left = tuple(step for step in steps if step > from_step)
    note = None
    if left:
        note = (
            f"going back from step {newest} to {from_step}: {newest - from_step} steps are trained again; "
            f"the later checkpoints ({', '.join(map(str, left))}) are kept as STEP{SET_ASIDE} until that "
            "step or a later one is saved"
        )
    return Candidates(steps=[from_step], left=left, from_step=from_step, note=note)


def went_back_to(directory: RunDirectory, step: int) -> int | None:
    """Return the step that the run was told to go back to before it saved ``step``; None if it was not."""
    try:
        return read_metadata(directory.checkpoints, step).get(FROM_STEP)
    except CheckpointError:
        return None

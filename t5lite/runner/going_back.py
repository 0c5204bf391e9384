"""Which checkpoints a run may go on from, where it is told to go back to an older one."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from t5lite.checkpointing.reading import Step
from t5lite.checkpointing.recovery import SET_ASIDE
from t5lite.core.errors import CheckpointError
from t5lite.runner.checkpoint_choice import chosen_step
from t5lite.runner.snapshot import Snapshot

FROM_STEP = "from_step"
"""In the metadata of a checkpoint, what its run was told to go back to."""
Asked: TypeAlias = int | Literal["best"]


@dataclass(frozen=True, kw_only=True)
class Return:
    """The checkpoint that a run is told to go back to."""

    asked: Asked
    """As it was told."""
    step: int | None
    """None: the run has gone back to it before, and keeps it no more."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The checkpoints that a run may go on from."""

    steps: tuple[int, ...]
    """Ascending; the newest that is whole is taken."""
    left: tuple[int, ...] = ()
    """Newer ones that it is not to go on from."""
    back: Return | None = None
    """What the run was told to go back to."""
    note: str | None = None


def asked_return(found: Snapshot, from_step: Step) -> Return | None:
    """Return what a run is told to go back to; None for the newest.

    Raises:
      CheckpointError: if there is no such checkpoint, and the run has not gone back to it before.
    """
    if from_step == "newest":
        return None
    try:
        return Return(asked=from_step, step=chosen_step(found, from_step))
    except CheckpointError:
        if found.steps and _recorded(found, found.steps[-1]) == from_step:
            return Return(asked=from_step, step=None)  # the checkpoints kept are all later ones by now
        raise


def still_there(found: Snapshot, back: Return | None) -> Return | None:
    """Return ``back``, None where its checkpoint is there no more: a rollback went beyond it."""
    return back if back is not None and back.step in found.steps else None


def candidates(found: Snapshot, back: Return | None) -> Candidates:
    """Return what a run may go on from: any checkpoint, or the one that it is told to go back to.

    A scheduler starts the same command again and again. So a run that has gone back, and has saved a later
    step since, goes on from that; what is the best by then may be another one.
    """
    if back is None:
        return Candidates(steps=found.steps)
    newest = found.steps[-1]
    if back.step is None or (newest > back.step and _recorded(found, newest) == back.asked):
        step = "the best step" if back.asked == "best" else f"step {back.asked}"
        note = (
            f"the run has gone back to {step} before and goes on from there; to go back once more, move the "
            "later checkpoints away"
        )
        return Candidates(steps=found.steps, back=back, note=note)
    left = tuple(step for step in found.steps if step > back.step)
    note = None
    if left:
        note = (
            f"going back from step {newest} to {back.step}: {newest - back.step} steps are trained again; "
            f"the later checkpoints ({', '.join(map(str, left))}) are kept as STEP{SET_ASIDE} until that "
            "step or a later one is saved"
        )
    return Candidates(steps=(back.step,), left=left, back=back, note=note)


def _recorded(found: Snapshot, step: int) -> Asked | None:
    """Return what the run was told to go back to before it saved ``step``, if it can be read."""
    try:
        return found.metadata(step).get(FROM_STEP)
    except CheckpointError:
        return None

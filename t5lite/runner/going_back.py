"""Which checkpoints a run may go on from, where it is told to go back to an older one."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from t5lite.checkpointing.reading import Step, available_steps, read_metadata
from t5lite.checkpointing.recovery import SET_ASIDE
from t5lite.core.errors import CheckpointError
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import leaders_result
from t5lite.runner.checkpoint_choice import chosen_step
from t5lite.runner.run_directory import RunDirectory

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

    steps: list[int]
    """Ascending; the newest that is whole is taken."""
    left: tuple[int, ...] = ()
    """Newer ones that it is not to go on from."""
    went_back: Asked | None = None
    """What the run was told to go back to."""
    note: str | None = None


def asked_return(directory: RunDirectory, from_step: Step) -> Return | None:
    """Return what a run is told to go back to, the same in all processes; None for the newest.

    Raises:
      CheckpointError: if there is no such checkpoint, and the run has not gone back to it before.
    """
    asked: Step = multihost.leaders_value(from_step)
    if asked == "newest":
        return None

    def find() -> int | None:
        try:
            return chosen_step(directory, asked)
        except CheckpointError:
            steps = available_steps(directory.checkpoints)
            if steps and _recorded(directory, steps[-1]) == asked:
                return None  # the checkpoints kept are all later ones by now
            raise

    return Return(asked=asked, step=leaders_result(find))


def still_there(directory: RunDirectory, back: Return | None) -> Return | None:
    """Return ``back``, None where its checkpoint is there no more: a rollback went beyond it.

    All processes must ask, and get the leader's answer: a shared disk shows others some time later what went.
    """
    if back is None:
        return None
    there = leaders_result(lambda: back.step in available_steps(directory.checkpoints))
    return back if there else None


def candidates(directory: RunDirectory, steps: list[int], back: Return | None) -> Candidates:
    """Return what a run may go on from: any of ``steps``, or the one that it is told to go back to.

    A scheduler starts the same command again and again. So a run that has gone back, and has saved a later
    step since, goes on from that; what is the best by then may be another one.
    """
    if back is None:
        return Candidates(steps=steps)
    newest = steps[-1]
    if back.step is None or (newest > back.step and went_back_to(directory, newest) == back.asked):
        step = "the best step" if back.asked == "best" else f"step {back.asked}"
        note = (
            f"the run has gone back to {step} before and goes on from there; to go back once more, move the "
            "later checkpoints away"
        )
        return Candidates(steps=steps, went_back=back.asked, note=note)
    left = tuple(step for step in steps if step > back.step)
    note = None
    if left:
        note = (
            f"going back from step {newest} to {back.step}: {newest - back.step} steps are trained again; "
            f"the later checkpoints ({', '.join(map(str, left))}) are kept as STEP{SET_ASIDE} until that "
            "step or a later one is saved"
        )
    return Candidates(steps=[back.step], left=left, went_back=back.asked, note=note)


def went_back_to(directory: RunDirectory, step: int) -> Asked | None:
    """Return what the run was told to go back to before it saved ``step``; None if it was not.

    All processes must ask, and get the leader's answer: one of them may not be able to read it.
    """
    return leaders_result(lambda: _recorded(directory, step))


def _recorded(directory: RunDirectory, step: int) -> Asked | None:
    try:
        return read_metadata(directory.checkpoints, step).get(FROM_STEP)
    except CheckpointError:
        return None

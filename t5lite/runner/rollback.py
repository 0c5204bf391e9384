"""Back to the last good checkpoint when the numbers went bad, and on without the examples of the bad steps.

What was decided stands in ``rollbacks.json`` of the run directory before anything is trained on, and what is
left out also in every later checkpoint. A run that is killed at any point comes to the same: checkpoints are
taken out of the way first, and without them the same steps lead to the same incident.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from t5lite.checkpointing.manager import Checkpoints
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import NumbersError
from t5lite.core.files import write_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.strict_json import StrictJson, remedied
from t5lite.data.left_out import LeftOut
from t5lite.data.position import DataPosition
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import leaders_result
from t5lite.runner.resumption import Resumption
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.bad_steps import Incident

VERSIONS = Versions({0: unchanged})
"""Of ``rollbacks.json``."""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """One return to an earlier state."""

    to_step: int
    """The checkpoint; where there is none, the step that the run begins at."""
    first_bad_step: int
    last_bad_step: int
    first_example: int
    """Left out, a place in the endless stream of examples; up to ``last_example``."""
    last_example: int
    reason: str
    in_vain: bool = False
    """It did not help, nor did others to the same checkpoint; nothing is left out for it any more."""

    def __str__(self) -> str:
        return f"{self.first_example:,} to {self.last_example:,}"


@dataclass(frozen=True, kw_only=True)
class Rollbacks:
    """What ``rollbacks.json`` says: every rollback of a run, in order."""

    rollbacks: tuple[Rollback, ...] = ()

    def left_out(self, resumed: Resumption | None) -> LeftOut:
        """Return what a run leaves out, by its rollbacks and by the checkpoint that it goes on from."""
        counted = [each for each in self.rollbacks if not each.in_vain]
        recorded = [(each.first_example, each.last_example + 1) for each in counted]
        return LeftOut.of([*recorded, *(resumed.left_out.ranges if resumed else ())])


_JSON = StrictJson(versions={Rollbacks: VERSIONS})


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What is trained between a start and the next rollback."""

    directory: RunDirectory
    start_step: int
    position: DataPosition
    """The examples seen before it."""
    batch_size: int
    left_out: LeftOut = field(default_factory=LeftOut)
    begin_step: int = 0
    """That the run began at: above 0 of one that goes on from another's checkpoint."""

    def examples(self, first_step: int, last_step: int) -> tuple[int, int]:
        """Return the places of the first and the last example of these steps, counted from 1."""
        first, end = (
            self.position.after(step - self.start_step, batch_size=self.batch_size).examples_seen
            for step in (max(first_step - 1, self.start_step), last_step)
        )
        return self.left_out.place(min(first, end - 1)), self.left_out.place(end - 1)


def read_rollbacks(directory: RunDirectory) -> Rollbacks:
    """Return the rollbacks of a run; of most runs none.

    Raises:
      ConfigError: if ``rollbacks.json`` is damaged.
    """
    file = directory.rollbacks_file
    if not file.is_file():
        return Rollbacks()
    with remedied("delete it: the checkpoints, too, say which examples are left out"):
        return _JSON.read(file, Rollbacks)


def roll_back(incident: Incident, stretch: Stretch, checkpoints: Checkpoints, *, at_most: int) -> str:
    """Take back what was saved since the last good checkpoint, and leave out the examples of the bad steps.

    The step before the first bad one counts as bad: its update may be what spoiled the parameters. All
    processes must call it, and come to the same.

    Args:
      incident: what went bad.
      stretch: in which it did.
      checkpoints: of the run.
      at_most: rollbacks to the same checkpoint.

    Returns:
      What to say of it.

    Raises:
      NumbersError: if there were that many already: the examples are not the cause, so they are not left out
        any longer, and the next start has its rollbacks anew.
    """
    earlier = _leaders_rollbacks(stretch.directory)
    checkpoints.wait()
    # A shared disk shows other processes what was written some time later.
    steps = leaders_result(lambda: available_steps(checkpoints.directory))
    to_step = max((step for step in steps if step <= incident.last_good_step), default=stretch.begin_step)
    first, last = stretch.examples(incident.last_good_step + 1, incident.last_step)
    rollback = Rollback(
        to_step=to_step,
        first_bad_step=incident.first_step,
        last_bad_step=incident.last_step,
        first_example=first,
        last_example=last,
        reason=incident.what,
    )
    alike = [each for each in earlier if each.to_step == to_step and not each.in_vain]
    checkpoints.set_aside_after(to_step)
    if len(alike) >= at_most:
        in_vain = [replace(each, in_vain=each.in_vain or each in alike) for each in earlier]
        _write(stretch.directory, in_vain)
        raise _gave_up(rollback, alike)
    _write(stretch.directory, [*earlier, rollback])
    back = f"step {to_step}" if to_step else "the start"
    return (
        f"{incident.what}; going back to {back}, without the examples {rollback} from now on (rollback "
        f"{len(alike) + 1} of at most {at_most} to there)"
    )


def _gave_up(newest: Rollback, alike: list[Rollback]) -> NumbersError:
    """Return the end of a run, with what can be done."""
    tried = ""
    if alike:
        tried = (
            f", and {len(alike)} rollbacks that left out the examples {'; '.join(map(str, alike))} did not "
            "help, so that these are trained on again"
        )
    resumes = f"resumes from step {newest.to_step}" if newest.to_step else "starts anew"
    return NumbersError(
        f"{newest.reason}; the examples since the last good step are {newest}{tried}; lower the learning "
        "rate or set step.max_gradient_norm (training.spike_threshold, if such losses are right), and run "
        f"again: that {resumes}"
    )


def _leaders_rollbacks(directory: RunDirectory) -> tuple[Rollback, ...]:
    """Return what the leader finds; all processes must call it."""
    told = leaders_result(lambda: _JSON.unstructure(read_rollbacks(directory), Rollbacks))
    return _JSON.structure(told, Rollbacks, name=str(directory.rollbacks_file)).rollbacks


def write_rollbacks(directory: RunDirectory, rollbacks: Sequence[Rollback]) -> None:
    """Write ``rollbacks.json``; call it in one process."""
    value = Rollbacks(rollbacks=tuple(rollbacks))
    write_json(directory.rollbacks_file, _JSON.unstructure(value, Rollbacks))


def _write(directory: RunDirectory, rollbacks: Sequence[Rollback]) -> None:
    if multihost.is_leader():
        write_rollbacks(directory, rollbacks)
    multihost.barrier("rollbacks")

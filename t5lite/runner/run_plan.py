"""The plan of a run: what it goes on with and where it starts from, decided once, by its leader.

The leader alone reads the run directory, and tells the other processes what it found as data: what they would
read for themselves might be older. Whatever comes after takes the plan.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from t5lite.adapters import Adapter, Base
from t5lite.core.strict_json import StrictJson
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.left_out import LeftOut
from t5lite.data.position import DataPosition
from t5lite.models.config import PARTS, ModelConfig
from t5lite.partitioning.agreed_errors import leaders_result
from t5lite.runner.config_history import ConfigHistory
from t5lite.runner.continuing import Past
from t5lite.runner.earlier_run import EarlierRun
from t5lite.runner.going_back import Asked, Return
from t5lite.runner.initialization import Source
from t5lite.runner.resumption import Resumption

T = TypeVar("T")
_JSON = StrictJson(unions=(*PARTS, ModelConfig, Adapter))


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run goes on with, the same in all of its processes."""

    earlier: EarlierRun
    """What the directory holds already."""
    resumed: Resumption | None = None
    """The checkpoint to go on from, None for a run that begins."""
    source: Source | None = None
    """What a run begins from, or what says of it what its own files have lost."""
    continued: Source | None = None
    """The run whose checkpoint is resumed, where the run begins with that of another."""
    past: Past | None = None
    """What is taken over of that one."""
    base: Base | None = None
    """What the run's checkpoints are read beside; None where they are whole."""
    classes: LabelClasses | None = None
    """Of a classifier, as the run was started with them; None where nothing says so yet."""
    eos_ids: tuple[int, ...] = ()
    """What ends a generated text besides the vocabulary's EOS."""
    is_imported: bool | None = None
    """Whether what was trained first was imported; None where an older run does not say."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Places in the data that are not trained on."""
    history: ConfigHistory = field(default_factory=ConfigHistory)
    """What was changed in the run before."""
    evaluations: tuple[Mapping[str, Any], ...] = ()
    """Entries of the metrics file, up to where the run goes on."""
    back: Return | None = None
    """What this start was told to go back to."""
    set_aside: tuple[int, ...] = ()
    """Newer checkpoints, which are damaged or not to be gone on from."""
    num_damaged: int = 0
    """Of these."""
    messages: tuple[str, ...] = ()
    """What to say of them."""

    @property
    def step(self) -> int:
        """Where the run starts; 0 if it begins."""
        return self.resumed.step if self.resumed else 0

    @property
    def position(self) -> DataPosition:
        """The examples that were seen before this start."""
        return self.resumed.position if self.resumed else DataPosition()

    @property
    def place(self) -> int:
        """The same in the data with what is left out of it."""
        return self.left_out.place(self.position.examples_seen)

    @property
    def went_back(self) -> Asked | None:
        """What the run was told to go back to, now or before."""
        if self.back is not None:
            return self.back.asked
        # What another run went back to is no matter of this one.
        return self.resumed.went_back if self.resumed and self.continued is None else None

    def is_evaluated(self, names: Collection[str]) -> bool:
        """Whether what it starts from was measured by all these evaluations."""
        return {*names} <= {entry["evaluation"] for entry in self.evaluations if entry["step"] == self.step}

    def passing_over(self, damaged: Collection[int], messages: Collection[str]) -> "RunPlan":
        """Return the plan where newer checkpoints could not be read, and what to say of them."""
        return dataclasses.replace(
            self,
            set_aside=(*self.set_aside, *damaged),
            num_damaged=len(damaged),
            messages=(*messages, *self.messages),
        )


def as_the_leader_finds(kind: type[T], find: Callable[[], T]) -> T:
    """Return in all processes what ``find`` returns in the leader; all must call it.

    Args:
      kind: of the result: a dataclass of a plan's kinds of fields.
      find: reads and decides; called in the leader alone, so that it makes no collective call.

    Raises:
      UserError: of the leader, in all processes.
      TransientError: likewise.
    """
    told = leaders_result(lambda: _JSON.unstructure(find(), kind))
    return _JSON.structure(told, kind, name="the plan of the leader")

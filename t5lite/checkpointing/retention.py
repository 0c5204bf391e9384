"""Which checkpoints are kept beside the newest ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from orbax.checkpoint import checkpoint_managers as policies


@dataclass
class NewestGood(policies.PreservationPolicy):
    """Keeps the newest checkpoint whose parameters later steps have vouched for: the one to go back to.

    What the last update made of the parameters only the next loss tells, so the newest checkpoint may be bad.
    """

    last_good_step: int | None = None
    """The newest step that is known to be good; set it before a save. None keeps nothing."""

    def should_preserve(
        self, checkpoints: Sequence[policies.PolicyCheckpointInfo], *, context: policies.PreservationContext
    ) -> Sequence[bool]:
        """Return for each checkpoint whether it is the one."""
        if self.last_good_step is None:
            return [False] * len(checkpoints)
        newest = max((info.step for info in checkpoints if info.step <= self.last_good_step), default=None)
        return [info.step == newest for info in checkpoints]

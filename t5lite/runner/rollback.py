"""What becomes of a run whose numbers went bad."""

from t5lite.checkpointing.manager import Checkpoints
from t5lite.core.errors import NumbersError
from t5lite.training.bad_steps import Incident


def gave_up(incident: Incident, checkpoints: Checkpoints) -> NumbersError:
    """Return the end of a run, and say how to go on."""
    checkpoints.wait()
    newest = checkpoints.latest_step()
    resumes = "starts anew" if newest is None else f"resumes from step {newest}"
    return NumbersError(
        f"{incident.what}; lower the learning rate or set step.max_gradient_norm, and run again: that "
        f"{resumes}"
    )

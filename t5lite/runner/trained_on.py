"""What a run was trained on, as far as it says how its model is asked."""

from t5lite.decoding import TrainedOn
from t5lite.runner.snapshot import Snapshot


def trained_on(found: Snapshot) -> TrainedOn | None:
    """Return what a run was trained on; None of an imported one."""
    if not found.has_config:
        return None
    config = found.config
    return TrainedOn(config.data, config.prompted_data, from_scratch=config.initialize_from is None)

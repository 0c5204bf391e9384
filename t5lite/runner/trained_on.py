"""What a run was trained on, as far as it says how its model is asked."""

from t5lite.decoding import TrainedOn
from t5lite.runner.snapshot import Snapshot


def trained_on(found: Snapshot) -> TrainedOn | None:
    """Return what a run was trained on; None of an imported one."""
    if not found.has_config:
        return None
    config, is_imported = found.config, found.model.is_imported
    if is_imported is None:  # an older run's source may have been
        is_imported = config.initialize_from is not None
    return TrainedOn(config.data, config.prompted_data, from_scratch=not is_imported)

"""The trackers of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import StoragePath
from t5lite.partitioning import multihost
from t5lite.run_config import RunConfig, to_json
from t5lite.training.trackers.reporting import Trackers


def check_trackers(config: RunConfig) -> None:
    """Check that the packages are installed, and that a tracker of a kind is there once.

    Raises:
      ConfigError: if not.
    """
    keys = [each.key for each in config.trackers]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ConfigError(f"trackers: {', '.join(sorted(twice))} is there twice; a run is shown once by each")
    for each in config.trackers:
        each.check()


@contextmanager
def tracked(
    config: RunConfig, directory: StoragePath, say: Callable[[str], None]
) -> Iterator[Trackers | None]:
    """Show the run in its trackers during the block, in the leader; None elsewhere, and without any."""
    if not config.trackers or not multihost.is_leader():
        yield None
        return
    with Trackers(
        config.trackers, directory, name=directory.name, config=to_json(config), say=say
    ) as trackers:
        yield trackers

"""The places that a run reads and writes, and whether its machines see them."""

from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import storage_address
from t5lite.data.pipeline import MixtureDataConfig
from t5lite.run_config import RunConfig


def check_places(config: RunConfig, missing_disk: str | None) -> None:
    """Check that every place of a run is in object storage, unless its machines have this one's disk.

    Args:
      config: of the run, with absolute paths.
      missing_disk: which disk the machines lack, to follow "on a disk that"; None if they lack none.

    Raises:
      ConfigError: naming every place that they would not see.
    """
    if missing_disk is None:
        return
    local = {name: path for name, path in places(config).items() if storage_address(path) is None}
    if local:
        listed = ", ".join(f"{name}={path}" for name, path in local.items())
        first = next(iter(local)).replace("_", "-")
        raise ConfigError(
            f"{listed}: on a disk that {missing_disk}; runs live in a bucket: --{first} gs://BUCKET/… (or s3://)"
        )


def places(config: RunConfig) -> dict[str, str]:
    """Return every place by the name of its field."""
    found = {"run_dir": config.run_dir}
    data = config.data
    if isinstance(data, MixtureDataConfig):
        found |= {
            f"data.sources.{index}.data.store": source.data.store for index, source in enumerate(data.sources)
        }
    else:
        found["data.store"] = data.store
    if config.evaluation.store is not None:
        found["evaluation.store"] = config.evaluation.store
    if config.initialize_from is not None:
        found["initialize_from.run"] = config.initialize_from.run
    return found

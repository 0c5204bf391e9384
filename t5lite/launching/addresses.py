"""The places that a run reads and writes, and whether its machines see them."""

import re

from t5lite.adapters import Base
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place, storage_address
from t5lite.run_config import RunConfig
from t5lite.runner.planned_base import moved
from t5lite.runner.run_directory import RunDirectory
from t5lite.tasks.opening import is_task_file

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""Of Cloud Storage; S3's, at most 63 characters without ``_``, are among them."""
_MOVED = "and go on with --initialize-from.run"
_IMPORTED_ANEW = "export the adapter by --format peft, and import it with --base"


def check_places(config: RunConfig, missing_disk: str | None) -> None:
    """Check that every place of a run is in a bucket that can be, unless its machines have this one's disk.

    Args:
      config: of the run, with absolute paths.
      missing_disk: which disk the machines lack, to follow "on a disk that"; None if they lack none.

    Raises:
      ConfigError: naming every place that they would not see, or a bucket that no service gives that name.
    """
    for name, path in places(config).items():
        address = storage_address(path)
        if address is not None and not _BUCKET.fullmatch(bucket := address.split("/")[2]):
            raise ConfigError(
                f"{name}={path}: no bucket is called {bucket!r}; its name has lower-case letters, digits, "
                "'-', '_' and '.', from a letter or digit to another, 3 characters or more"
            )
    if missing_disk is None:
        return
    local = {name: path for name, path in places(config).items() if storage_address(path) is None}
    if local:
        listed = ", ".join(f"{name}={path}" for name, path in local.items())
        first = next(iter(local)).replace("_", "-")
        raise ConfigError(
            f"{listed}: on a disk that {missing_disk}; runs live in a bucket: --{first} gs://BUCKET/… (or s3://)"
        )
    _check_bases(config, missing_disk)


def _check_bases(config: RunConfig, missing_disk: str) -> None:
    """Check that the base of an adapter that a run begins from, or goes on with, is in a bucket."""
    now, resumed = config.initialize_from, {"run_dir": config.run_dir}
    if config.continue_from is not None:
        resumed["continue_from.run"] = config.continue_from.run
    if now is not None and (base := _base_of(RunDirectory.at(now.run))) is not None:
        _check_base(f"initialize_from.run={now.run}", base, missing_disk, _IMPORTED_ANEW)
    if not config.adapter.stands_apart:  # its own checkpoints have no base, and storage need not be asked
        return
    for field, run in resumed.items():
        directory = RunDirectory.at(run)
        if (base := _base_of(directory)) is not None:
            before = directory.read_config().initialize_from if directory.config_file.is_file() else None
            is_beside = before is not None and place(before.run) == place(base.run)
            remedy = _MOVED if is_beside else _IMPORTED_ANEW
            _check_base(f"{field}={run}", moved(base, now, before), missing_disk, remedy)
            return  # a run that has begun needs the other no more


def _base_of(directory: RunDirectory) -> Base | None:
    """Return the base of the adapter that a run holds, if it is there and holds one."""
    if not directory.model_file.is_file():
        return None
    adaptation = directory.read_model_file().adaptation
    return None if adaptation is None else adaptation.base


def _check_base(holder: str, base: Base, missing_disk: str, remedy: str) -> None:
    if storage_address(base.run) is None:
        raise ConfigError(
            f"{holder} holds an adapter beside step {base.step} of {base.run}: on a disk that "
            f"{missing_disk}; copy that run into a bucket, {remedy} gs://BUCKET/… (or s3://)"
        )


def places(config: RunConfig) -> dict[str, str]:
    """Return every place by the name of its field."""
    found = {"run_dir": config.run_dir}
    found |= {f"data.{name}": store for name, store in config.data.store_options.items()}
    found |= {f"evaluations.{name}.store": each.store for name, each in config.evaluations.items()}
    tasks = {f"evaluations.{name}.task": each.task for name, each in config.evaluations.items()}
    found |= {field: task for field, task in tasks.items() if task is not None and is_task_file(task)}
    if config.initialize_from is not None:
        found["initialize_from.run"] = config.initialize_from.run
    if config.continue_from is not None:
        found["continue_from.run"] = config.continue_from.run
    return found

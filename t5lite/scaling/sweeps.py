"""A sweep: runs of one or more families, each under a name of its own that says what it is."""

import dataclasses
import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.core.files import check_place
from t5lite.core.home import expand_fields
from t5lite.core.recipe_files import run_recipe
from t5lite.core.storage.addresses import StoragePath, is_remote, not_a_file, place
from t5lite.core.storage.local_copies import local_copy
from t5lite.data.stores.store_identity import store_identity
from t5lite.run_config import RunConfig
from t5lite.run_origins import ContinueFrom
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.status import State, run_status
from t5lite.scaling.counting import RunCount, count_run
from t5lite.scaling.run_ids import run_id
from t5lite.scaling.trunks import shared_parts

RUNS = "runs"
"""Folder of the run directories in that of the sweep."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
WAITING = "waiting"
"""The state of a run that was never started."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a SWEEP.py returns: its ``sweep() -> Sweep``."""

    directory: str
    """Where runs and tables are, local or in a bucket; machines that are given the same share the work."""
    families: Mapping[str, Sequence[RunConfig]]
    """Runs by the name of their family, which a table is fitted by; their ``run_dir`` does not count."""
    evaluate: bool = True
    """Whether runs that are trained are also measured by ``t5lite evaluate``: bits per byte, intervals."""

    def __post_init__(self) -> None:
        expand_fields(self, "directory")
        if not isinstance(self.families, Mapping):
            raise ConfigError(
                f"families is a {type(self.families).__name__}; give lists of runs by names, as in "
                "families={'gpt': runs}"
            )
        for name, runs in self.families.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigError(f"families has the name {name!r}; use letters, digits, _, . and -")
            if not isinstance(runs, Collection):
                raise ConfigError(
                    f"families[{name!r}] is a {type(runs).__name__}; give a list, also of a single RunConfig"
                )
            for run in runs:
                if not isinstance(run, RunConfig):
                    raise ConfigError(f"families[{name!r}] holds a {type(run).__name__}; give RunConfigs")
        if not any(self.families.values()):
            raise ConfigError("the sweep has no runs")


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """A run of a sweep."""

    id: str
    family: str
    config: RunConfig
    """With absolute paths, and its own directory in that of the sweep."""
    trunk: "Trunk | None" = None
    """What it shares with a shorter run, and goes on from; None if it is trained from its start."""

    @property
    def started(self) -> RunConfig:
        """What is trained: as ``config`` says, from the end of its trunk on."""
        if self.trunk is None:
            return self.config
        origin = ContinueFrom(run=self.trunk.run.config.run_dir, step=self.trunk.step)
        return dataclasses.replace(self.config, continue_from=origin)

    @property
    def own_steps(self) -> int:
        """The steps that it trains itself."""
        origin = self.trunk or self.config.continue_from
        return self.config.training.total_steps - (origin.step if origin else 0)

    @functools.cached_property
    def count(self) -> RunCount:
        """Parameters, tokens and FLOPs, by this project's convention."""
        return count_run(self.config)

    @property
    def directory(self) -> RunDirectory:
        """Its run directory."""
        return RunDirectory.at(self.config.run_dir)

    def state(self) -> tuple[State | str, int]:
        """Return how it stands, and its step.

        Raises:
          ConfigError: if its directory holds something else.
          TransientError: if object storage does not answer.
        """
        path = self.directory.path
        if not path.exists():
            return WAITING, 0
        try:
            status = run_status(str(path))
        except ConfigError:
            if self.directory.config_file.exists() or self.directory.model_file.exists():
                raise
            return WAITING, 0  # a start that ended before it was a run
        return status.state, status.step


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """What a run shares with a shorter one (``trunks``)."""

    run: SweepRun
    """The shorter one."""
    step: int
    """Up to which they are the same, and which that one keeps."""


def read_sweep(path: StoragePath) -> Sweep:
    """Return what ``sweep()`` of a file returns.

    Raises:
      ConfigError: if there is no such file, or it is no sweep.
    """
    if not path.is_file():
        raise ConfigError(f"sweep {path} {not_a_file(path)}; give a .py file that defines sweep() -> Sweep")
    return run_recipe(local_copy(path), Sweep, function="sweep", returns="Sweep")


def check_directory(folder: StoragePath) -> None:
    """Check that the directory of a sweep is one or can become one, before stores are read.

    Raises:
      UserError: if a file or a run is there; of one in a bucket, if that is not there.
    """
    if is_remote(folder):  # a disk that is not writable here may be where the runs are trained
        check_place(folder)
    elif folder.exists() and not folder.is_dir():
        raise ConfigError(f"the directory of the sweep, {folder}, is a file; give it another name")
    if RunDirectory(folder).model_file.is_file():
        raise ConfigError(
            f"the directory of the sweep, {folder}, is that of a run; give one of its own, such as "
            f"{folder.parent / 'sweep'}"
        )


def expand(sweep: Sweep, identity: Callable[[str], str] | None = None) -> tuple[list[SweepRun], list[str]]:
    """Return the runs, the cheapest first, and what is to be said of them.

    Args:
      sweep: of which.
      identity: digest of a store, of which names are made; by default of its contents, which are read.

    Raises:
      DataError: if a store cannot be read.
      ConfigError: if two families have the same run.
    """
    identity = functools.cache(identity or store_identity)
    found: dict[str, SweepRun] = {}
    repeated = 0
    for family, configs in sweep.families.items():
        for config in configs:
            name = run_id(config.resolved(), identity)
            if name in found and found[name].family != family:
                raise ConfigError(
                    f"families {found[name].family!r} and {family!r} have the same run ({name}); leave it "
                    "out of one of them"
                )
            repeated += name in found
            directory = str(place(sweep.directory) / RUNS / name)
            own = dataclasses.replace(config, run_dir=directory).resolved()
            found.setdefault(name, SweepRun(id=name, family=family, config=own))
    shared = shared_parts({name: run.config for name, run in found.items()})
    for name in sorted(shared, key=lambda name: found[name].config.training.total_steps):
        trunk = Trunk(run=found[shared[name].run], step=shared[name].step)
        found[name] = dataclasses.replace(found[name], trunk=trunk)
    notes = [f"runs that are the same as others, and are run once: {repeated}"] if repeated else []
    return sorted(found.values(), key=lambda run: run.count.flops), notes

"""What a sweep is to consist of, in a file of its directory: who looks at that later sees what is missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cattrs

from t5lite.core.errors import DataError
from t5lite.core.files import make_directory, write_json
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.sweeps import SweepRun

LIST_FILE = "sweep.json"
"""Name in the directory of the sweep."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run of the sweep, done or not."""

    family: str
    params: int
    tokens: int
    flops: float
    total_steps: int


def write_list(folder: StoragePath, runs: Sequence[SweepRun]) -> None:
    """Write the runs of a sweep; whoever shares it writes the same."""
    listed = {
        run.id: ListedRun(
            family=run.family,
            params=run.count.params,
            tokens=run.count.tokens,
            flops=run.count.flops,
            total_steps=run.config.training.total_steps,
        )
        for run in runs
    }
    make_directory(folder)
    write_json(folder / LIST_FILE, {name: asdict(each) for name, each in listed.items()})


def read_list(folder: StoragePath) -> dict[str, ListedRun]:
    """Return the runs of a sweep by their names; of one that nothing was noted of, none.

    Raises:
      DataError: if the file is damaged.
    """
    file = folder / LIST_FILE
    if not file.is_file():
        return {}
    try:
        return cattrs.structure(load_json(file), dict[str, ListedRun])
    except (OSError, ValueError, TypeError, AttributeError, cattrs.BaseValidationError) as error:
        raise DataError(f"{file} is damaged ({error}); delete it, `t5lite sweep` writes it anew") from error

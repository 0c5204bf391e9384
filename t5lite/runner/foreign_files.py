"""What is somebody else's in a directory that is to become a run: a run has a directory of its own.

Whoever starts over deletes it, and what lies beside a run's files is taken for the run's: not /, a home, the
root of a bucket, a data set, another tool's model. What a job has beside its run is no reason to refuse it.
"""

import os
import re
from collections.abc import Callable, Collection, Mapping

from t5lite.core.errors import ConfigError, UserError
from t5lite.core.storage.addresses import StoragePath

_FILES_OF_A_JOB = re.compile(
    r"core(\.[\w.]*\d)?"  # the memory of a process that crashed
    r"|.+\.(log|out|err)([.-]\d+)*(\.(gz|bz2|xz|zst))?"  # what it printed, also rotated
    r"|(.+[._-])?(stdout|stderr|log)([._-]\d+)*(\.txt)?"
    r"|.+\.(py|sh|sbatch|slurm|ya?ml|toml)"  # its script and its recipe
)
_FOLDERS_OF_A_JOB = re.compile(r"logs?|xla_dump|__pycache__|lost\+found")
_SHOWN = 3


def check_holds_no_others(
    directory: StoragePath, *, own: Collection[str], marks: Mapping[str, Callable[[], bool]]
) -> None:
    """Check that a directory is a run's, or holds nothing but what a start leaves and what is a job's.

    Hidden files are nobody's choice (``.DS_Store``, ``.nfs0001``) but in a home.

    Args:
      directory: that a run is to be written to; it need not be there.
      own: names of a run's files and folders.
      marks: names of what only a run has, or a start that was let in, with whether it is a run's.

    Raises:
      ConfigError: if it holds anything else.
      UserError: if it cannot be listed.
    """
    names = _names_in(directory)
    if any(name in names and is_a_runs() for name, is_a_runs in marks.items()):
        return
    is_home = os.fspath(directory) == os.path.expanduser("~")
    others = sorted(name for name in names.difference(own) if is_home or not _is_of_a_job(directory / name))
    if not others:
        return
    shown = ", ".join(others[:_SHOWN])
    more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
    raise ConfigError(
        f"run_dir={directory} is not a run (no model.json) and holds {shown}{more}; move "
        f"{'it' if len(others) == 1 else 'them'} away, or give the run a directory of its own, such as "
        f"{directory / 'new'}"
    )


def _names_in(directory: StoragePath) -> set[str]:
    try:
        return {path.name for path in directory.iterdir()}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(
            f"run_dir={directory} cannot be listed ({error.strerror}), so what it holds is not known; "
            "make it readable, or give another run_dir"
        ) from error


def _is_of_a_job(path: StoragePath) -> bool:
    if path.name.startswith(".") or _FOLDERS_OF_A_JOB.fullmatch(path.name):
        return True
    return _FILES_OF_A_JOB.fullmatch(path.name) is not None and path.is_file()

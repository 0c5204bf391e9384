"""A run that goes on from another one's checkpoint: what it takes of that one's past, until it has its own.

With its first checkpoint it needs the other run no more: what that had measured, and what it had left out of
the data, then stands in its own files.
"""

from typing import Any

from t5lite.core.errors import CheckpointError
from t5lite.run_config import RunConfig
from t5lite.runner.initialization import Source, source_of
from t5lite.runner.resumption import Resumption, resumption
from t5lite.runner.rollback import read_rollbacks, write_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import METRICS_FILE, read_metrics

_KINDS = ("train", "eval")
"""Of metrics, what tells of the model; the others are of an attempt."""


def find_continued(config: RunConfig) -> tuple[Source, Resumption, Snapshot] | None:
    """Return the run that ``continue_from`` names, its checkpoint and its files; call it in one process.

    Raises:
      CheckpointError: if it has no such checkpoint, or that is damaged.
      ConfigError: if it is no training, or of another kind of run.
    """
    named = config.continue_from
    if named is None:
        return None
    found = Snapshot(RunDirectory.at(named.run))
    source = source_of(named.run, found, named.step, gives_parameters=named.step in found.steps)
    if source.step is None:
        there = f"it has {', '.join(map(str, found.steps))}" if found.steps else "it has none yet"
        raise CheckpointError(
            f"continue_from.run={found.directory.path} has no checkpoint of step {named.step} ({there}); "
            f"name one that is there, or let that run keep it by --checkpoints.keep-steps {named.step}"
        )
    return source, resumption(found, named.step), found


def earlier_metrics(source: Source | None) -> list[dict[str, Any]] | None:
    """Return the entries of a run up to the checkpoint that is gone on from; None where there is no such run.

    Raises:
      DataError: if its metrics file is damaged.
    """
    if source is None or source.step is None:
        return None
    entries = read_metrics(RunDirectory.at(source.run).path / METRICS_FILE)
    return [each for each in entries if each["step"] <= source.step and each["kind"] in _KINDS]


def take_rollbacks(source: Source, directory: RunDirectory) -> None:
    """Write what a run had left out before that checkpoint; call it in one process.

    A rollback to the checkpoint itself, or beyond it, came later; one to before it took it out of the way, so
    that what is there was saved after it. What this run has left out itself is there already, after a
    rollback of its own.
    """
    assert source.step is not None
    if directory.rollbacks_file.is_file():
        return
    before = [
        each for each in read_rollbacks(RunDirectory.at(source.run)).rollbacks if each.to_step < source.step
    ]
    if before:
        write_rollbacks(directory, before)

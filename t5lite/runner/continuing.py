"""A run that goes on from another one's checkpoint: what it takes of that one's past, until it has its own.

With its first checkpoint it needs the other run no more: what that had measured, and what it had left out of
the data, then stands in its own files.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from t5lite.checkpointing.recovery import without_remedy
from t5lite.core.errors import CheckpointError, DamagedCheckpointError
from t5lite.run_config import RunConfig
from t5lite.runner.initialization import Source, source_of
from t5lite.runner.resumption import Resumption, resumption
from t5lite.runner.rollback import Rollback, read_rollbacks, write_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

_KINDS = ("train", "eval")
"""Of metrics, what tells of the model; the others are of an attempt."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What had become of the other run up to the checkpoint, as its files told when the plan was made."""

    metrics: tuple[Mapping[str, Any], ...]
    """Entries of its metrics file."""
    rollbacks: tuple[Rollback, ...]


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
        keeps = f"let that run keep it by --checkpoints.keep-steps {named.step}"
        if found.steps and found.steps[-1] > named.step:
            keeps = "begin without continue_from: that run is past it"
        raise CheckpointError(
            f"continue_from.run={found.directory.path} has no checkpoint of step {named.step} ({there}); "
            f"name one that is there, or {keeps}"
        )
    return source, resumption(found, named.step), found


@contextmanager
def damage_remedied(config: RunConfig) -> Iterator[None]:
    """Tell what can be done of a checkpoint of the other run that turns out damaged in the block.

    Raises:
      CheckpointError: in place of that error.
    """
    try:
        yield
    except DamagedCheckpointError as error:
        if config.continue_from is None:
            raise
        raise CheckpointError(
            f"{without_remedy(str(error))}; name another step of that run by --continue-from.step, or delete "
            "it there: a sweep then trains this run from its start"
        ) from error


def past_of(found: Snapshot, step: int) -> Past:
    """Return what a run takes over with the checkpoint of ``step``; call it in one process.

    A rollback to the checkpoint itself, or beyond it, came later; one to before it took it out of the way, so
    that what is there was saved after it.

    Raises:
      DataError: if the metrics file is damaged.
      ConfigError: if ``rollbacks.json`` is.
    """
    entries = (each for each in found.metrics if each["step"] <= step and each["kind"] in _KINDS)
    rollbacks = read_rollbacks(found.directory).rollbacks
    return Past(metrics=tuple(entries), rollbacks=tuple(each for each in rollbacks if each.to_step < step))


def take_rollbacks(past: Past, directory: RunDirectory) -> None:
    """Write what the other run had left out, unless own rollbacks stand there; call it in one process."""
    if past.rollbacks and not directory.rollbacks_file.is_file():
        write_rollbacks(directory, past.rollbacks)

"""Errors of one process that all raise: who fails alone leaves the others waiting for it in a collective."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from t5lite.core import machine_errors
from t5lite.core.errors import (
    CheckpointError,
    DamagedCheckpointError,
    TransientError,
    UserError,
)
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning import multihost

T = TypeVar("T")

_KINDS: tuple[type[UserError] | type[TransientError], ...] = (
    DamagedCheckpointError,
    TransientError,
    CheckpointError,
    UserError,
)
"""Gravest last: from damage there is a way on, an outage passes, instead of a checkpoint there may be another
one, and a mistake meets every new start."""


def in_all_or_none(act: Callable[[], T]) -> T:
    """Return what ``act`` returns in this process, or raise in all processes what it raises in one of them.

    All must call it. Of several errors the gravest is raised, that of the first process which has it. What
    the operating system refuses in one process is the machine's or the user's error in the others.

    Args:
      act: makes no collective call after which another one may fail in one process alone.

    Raises:
      UserError: of this process or of another one; a ``CheckpointError``, damage or not, in all of them.
      TransientError: likewise.
      OSError: of this process.
    """
    returned: list[T] = []
    error = None
    try:
        returned.append(act())
    except (UserError, TransientError, OSError) as raised:
        error = raised
    told = multihost.every_process(
        None if error is None else [_kind(error), machine_errors.description(error)]
    )
    failed = [(each[0], -process, each[1]) for process, each in enumerate(told) if each is not None]
    if not failed:
        return returned[0]
    kind, process, message = max(failed)
    if error is not None and -process == jax.process_index():
        raise error
    raise _KINDS[kind](f"process {-process}: {message}")


def leaders_result(find: Callable[[], Any]) -> Any:
    """Return in all processes what ``find`` returns in the leader, JSON-able, or raise what it raises there.

    Raises:
      UserError: of the leader.
      TransientError: likewise.
      OSError: likewise, in the leader.
    """
    return multihost.leaders_value(in_all_or_none(lambda: find() if multihost.is_leader() else None))


def _kind(error: UserError | TransientError | OSError) -> int:
    if isinstance(error, DamagedCheckpointError):
        return 0
    if machine_errors.exit_code(error) == ExitCode.TRANSIENT:
        return 1
    return 2 if isinstance(error, CheckpointError) else 3

"""Before the first step: all processes run the same, see one run directory, and nobody else writes to it.

No process decides by itself where others could come to another answer: they would wait for one another in a
collective for ever, or train on something mixed. What each has is compared, and the leader tells what it
read.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

import t5lite
from t5lite.checkpointing.lease import Lease, held_lease, sees_claim
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.files import check_place
from t5lite.core.json_changes import json_changes
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import in_all_or_none, leaders_result
from t5lite.run_config import RunConfig, to_json
from t5lite.runner.crash_loop import check_is_getting_on
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.phases import Phase
from t5lite.training.preemption import Preemption
from t5lite.training.supervision import Supervision

_SHOWN = 5


class Joined(NamedTuple):
    """What a process may do in a run."""

    lease: Lease | None
    """Of the process that holds it, for whoever writes at another time."""
    refusal: UserError | None
    """Why nobody may write to the directory, which may be that of a finished run; nobody holds a lease."""
    program: str
    """A digest of the configuration and the software, which all processes have in common."""


@contextmanager
def joined(config: RunConfig, supervision: Supervision, say: Callable[[str], None]) -> Iterator[Joined]:
    """During the block, this run alone writes to its directory, and all of its processes run the same.

    A run that lost its lease is ended at its next step or save.

    Args:
      config: resolved.
      supervision: its phases are observed, and a signal is told to whoever waits for this run to end.
      say: shows a line, in one process.

    Raises:
      ConfigError: if processes differ, or see different directories.
      UserError: if another run writes to the directory, none can and there is something to write, or this job
        ends at one step again and again.
      TransientError: if it cannot be asked.
    """
    software = {"t5lite": t5lite.__version__, "code": _code_digest(), "jax": jax.__version__}
    check_same("configuration", to_json(config))
    check_same("software", software)
    program = _digest([to_json(config), software])
    directory = RunDirectory.at(config.run_dir)
    directory.check_is_directory()
    refusal = _refusal_to_write(directory, config)
    if refusal is not None:
        yield Joined(None, refusal, program)
        return
    with ExitStack() as stack:
        lease = in_all_or_none(lambda: _leaders_lease(directory, config, program, say, stack))
        owner = multihost.leaders_value(lease and lease.holder.owner)
        _check_same_directory(directory, owner)
        if lease is not None:
            supervision.phases.observe(functools.partial(_check_lease, lease, supervision.preemption))
        yield Joined(lease, None, program)


def _leaders_lease(
    directory: RunDirectory, config: RunConfig, program: str, say: Callable[[str], None], stack: ExitStack
) -> Lease | None:
    """Return the lease, held as long as ``stack`` is, in the leader; None in the others."""
    if not multihost.is_leader():
        return None
    directory.check_holds_no_others()
    lease = stack.enter_context(held_lease(directory.path, config.lease, say))
    check_is_getting_on(directory.path, lease.holder.job, program)
    return lease


def _refusal_to_write(directory: RunDirectory, config: RunConfig) -> UserError | None:
    """Return why nothing can be written, the same in all processes, where all steps may have been done."""
    refusal = None
    try:
        check_place(directory.path)
    except UserError as error:
        refusal = error
    told = [each for each in multihost.every_process(refusal and str(refusal)) if each is not None]
    if not told:
        return None
    refusal = refusal or UserError(told[0])
    training = config.training
    if training.epochs is not None or training.early_stopping_patience is not None:
        return refusal  # where it ends, only its data or what it measured tells
    if leaders_result(lambda: available_steps(directory.checkpoints)[-1:]) != [training.total_steps]:
        raise refusal
    return refusal


def check_same(what: str, value: Any) -> None:
    """Check that ``value``, JSON-able, is the same in all processes.

    Raises:
      ConfigError: in all of them, with what differs where.
    """
    values = multihost.every_process(value)
    others = {
        process: changes
        for process, other in enumerate(values)
        if (changes := [*map(str, json_changes(values[0], other))])
    }
    if not others:
        return
    process, changes = next(iter(others.items()))
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    also = f"; so do {len(others) - 1} others" if len(others) > 1 else ""
    raise ConfigError(
        f"the processes of this run do not run the same {what}: process {process} of {len(values)} differs "
        f"from process 0 in {'; '.join(changes[:_SHOWN])}{more}{also}; start the same command and the same "
        "code in all of them"
    )


def _check_lease(lease: Lease, preemption: Preemption, phase: Phase | None, when: float) -> None:
    del when
    if phase == "save":
        lease.check()
        if preemption.asked_by is not None:
            lease.stopping()
    elif phase == "step":
        lease.check_if_due()


def _check_same_directory(directory: RunDirectory, owner: str) -> None:
    seen = multihost.every_process(sees_claim(directory.path, owner))
    missing = [process for process, sees in enumerate(seen) if not sees]
    if missing:
        raise ConfigError(
            f"run_dir={directory.path} is not one directory for all: process {', '.join(map(str, missing))} "
            f"of {len(seen)} does not see what process 0 wrote there; give a place that all hosts share, "
            "such as gs://BUCKET/DIRECTORY"
        )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _code_digest() -> str:
    """Return a digest of the package's source files, so that a changed checkout is another code."""
    digest = hashlib.sha256()
    root = Path(t5lite.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]

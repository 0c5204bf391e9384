"""Who holds a lease: a process, told apart from all others of its machine, and its job."""

import os
import shlex
import socket
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

_JOB_VARIABLES = ("T5LITE_JOB", "SLURM_JOB_ID", "JOBSET_UID", "JOBSET_NAME", "TPU_QUEUED_RESOURCE")
"""What names the job of a scheduler, the same before and after it was started again."""
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    owner: str
    """Of this one attempt."""
    host: str
    pid: int
    command: str
    since: str
    """Local time, for people."""
    job: str | None
    """The scheduler's name for the job, None outside of one."""
    machine: str | None
    """The same for processes that see one another's numbers; None where that cannot be known."""
    born: str | None
    """When the process started, as its kernel counts; None where that cannot be known."""
    deadline_seconds: float | None = None
    """Without a sign of life, after which it counts as dead; None in claims that did not say so."""

    def __post_init__(self) -> None:
        deadline = self.deadline_seconds
        if deadline is not None and not (type(deadline) in (int, float) and 0 < deadline < float("inf")):
            raise ValueError(f"deadline_seconds={deadline!r} is no deadline")

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        command = textwrap.shorten(self.command, _SHOWN_CHARACTERS, placeholder=" …")
        return f"process {self.pid} on {self.host} since {self.since}{job} ({command})"


def this_process(deadline_seconds: float) -> Holder:
    """Return this process as a holder whose signs of life come within ``deadline_seconds``."""
    return Holder(
        owner=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        command=shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])[:500],
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        job=next((f"{name}={os.environ[name]}" for name in _JOB_VARIABLES if os.environ.get(name)), None),
        machine=_machine(),
        born=_born(os.getpid()),
        deadline_seconds=deadline_seconds,
    )


def _machine() -> str | None:
    """Return a name of this boot of this host and its numbering of processes, None where Linux is not."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _born(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None if there is none, or only its body."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return None
    state, *fields = status.split()
    return None if state in "ZX" else fields[18]


def is_gone(holder: Holder) -> bool:
    """Whether the process is known to be gone, because it ran on this machine."""
    is_here = holder.machine is not None and holder.machine == _machine() and holder.born is not None
    return is_here and _born(holder.pid) != holder.born

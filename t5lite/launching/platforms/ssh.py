"""Hosts that are reached by ssh, one process on each."""

import re
import shlex
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.launching import supervisor
from t5lite.launching.job import Job
from t5lite.launching.platform import HostPlatform, gpus, no_shared_disk, positive
from t5lite.launching.template import fill

_HOST = re.compile(r"([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_PORT = 65535


@dataclass(kw_only=True)
class Ssh(HostPlatform):
    """Hosts of a list."""

    summary = "hosts that ssh reaches, one process on each"
    client = "ssh"
    suffix = "sh"
    flag_example = "-p2222"

    max_restarts: int = 10
    hosts: str
    """Host or user@host, as ssh takes them, with commas between; the first leads."""
    port: int = 8476
    """Of the first host, at which the others find it."""
    chips: str | None = None
    """Accelerators, such as h100-16 for two hosts of eight; what is checked to fit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "port")
        if self.port > _MAX_PORT:
            raise ConfigError(f"--port {self.port} must be at most {_MAX_PORT}")
        self._hosts = self.hosts.split(",")
        for host in self._hosts:
            if not _HOST.fullmatch(host):
                raise ConfigError(f"--hosts {self.hosts!r}: {host!r} is no host; write a.example,b.example")
        if twice := {host for host in self._hosts if self._hosts.count(host) > 1}:
            raise ConfigError(f"--hosts names {', '.join(sorted(twice))} twice; a host has one process")
        self.topology = gpus(self.chips)
        if self.topology is not None and self.topology.shape[0] != len(self._hosts):
            raise ConfigError(
                f"--chips {self.chips} is {self.topology}, on {self.topology.shape[0]} hosts, but --hosts "
                f"names {len(self._hosts)}"
            )
        self._coordinator = f"{self._hosts[0].rpartition('@')[2]}:{self.port}"
        self.missing_disk = no_shared_disk(len(self._hosts), shared=self.shared_filesystem)

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        host = fill(
            "host.sh",
            T5LITE=_quoted_program(self.t5lite),
            COORDINATOR=shlex.quote(self._coordinator),
            NUM_PROCESSES=len(self._hosts),
            ARGUMENTS=job.shell_arguments,
        )
        # The user's shell there may be another than bash, and sees the words joined by spaces.
        command = shlex.join(["bash", "-c", host, "host"])
        return fill(
            "ssh.sh",
            NAME=job.name,
            HOSTS=shlex.join(self._hosts),
            FLAGS=shlex.join(job.flags),
            HOST=shlex.quote(command),
            CONFIG=job.config_json,
            SUPERVISOR=supervisor.script(job),
        )


def _quoted_program(name: str) -> str:
    """Return a command's first word: in quotes ``if`` is no keyword, and ``a=b/c`` sets nothing."""
    return "'" + name.replace("'", "'\"'\"'") + "'"

"""Several processes of CPU devices on this machine: what a pod does, at a desk."""

import shlex
import sys
from dataclasses import dataclass

from t5lite.launching import supervisor
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform, positive
from t5lite.launching.template import fill


@dataclass(kw_only=True)
class Local(Platform):
    """This machine."""

    summary = "several processes of CPU devices on this machine, to try a run of many hosts"
    client = "bash"
    suffix = "sh"
    flag_example = None

    max_restarts: int = 0
    num_processes: int = 2
    """Processes."""
    devices_per_process: int = 1
    """CPU devices of each."""

    def __post_init__(self) -> None:
        positive(self, "num_processes", "devices_per_process")
        self.topology, self.missing_disk = None, None

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        return fill(
            "local.sh",
            NAME=job.name,
            NUM_PROCESSES=self.num_processes,
            DEVICES=self.devices_per_process,
            CONFIG=job.config_json,
            PYTHON=shlex.quote(sys.executable),
            ARGUMENTS=job.shell_arguments,
            SUPERVISOR=supervisor.script(job),
        )

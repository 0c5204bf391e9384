"""Several processes of CPU devices on this machine: what a pod does, at a desk."""

import argparse
import shlex
import sys

from t5lite.launching import supervisor
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform, positive
from t5lite.launching.template import fill


class Local(Platform):
    """This machine."""

    summary = "several processes of CPU devices on this machine, to try a run of many hosts"
    client = "bash"
    suffix = "sh"
    flag_example = None
    max_restarts = 0

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this platform alone."""
        parser.add_argument(
            "--num-processes", type=int, default=2, metavar="N", help="processes (default: 2)"
        )
        parser.add_argument(
            "--devices-per-process", type=int, default=1, metavar="N", help="CPU devices of each (default: 1)"
        )

    def __init__(self, options: argparse.Namespace):
        positive(options, "num_processes", "devices_per_process")
        self.topology, self.missing_disk = None, None
        self._num_processes, self._devices = options.num_processes, options.devices_per_process

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        return fill(
            "local.sh",
            NAME=job.name,
            NUM_PROCESSES=self._num_processes,
            DEVICES=self._devices,
            CONFIG=job.config_json,
            PYTHON=shlex.quote(sys.executable),
            ARGUMENTS=job.shell_arguments,
            SUPERVISOR=supervisor.script(job),
        )

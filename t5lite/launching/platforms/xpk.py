"""xpk: Google's front of GKE, which makes the JobSet itself and queues it by Kueue."""

import argparse
import base64
import shlex

from t5lite.launching.exit_policy import RESTARTED_BELOW_SIGNALS
from t5lite.launching.grammars import CLUSTER
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform, add_image, add_slices
from t5lite.launching.slices import Slices
from t5lite.launching.template import fill


class Xpk(Platform):
    """Workloads of a cluster that xpk made."""

    summary = "TPU slices of a GKE cluster that xpk manages"
    client = "xpk"
    suffix = "sh"
    flag_example = "--zone=us-west4-a"

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this platform alone."""
        add_slices(parser)
        add_image(parser)
        parser.add_argument("--cluster", type=CLUSTER, required=True, help="the cluster's name")

    def __init__(self, options: argparse.Namespace):
        self._slices = Slices.of(options)
        self.topology, self.missing_disk = self._slices.topology, "pods do not have"
        self._tpu_type = self._slices.cloud_type
        self._image, self._cluster = options.image, options.cluster

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        host = fill("xpk_host.sh", NAME=job.name, CONFIG=job.config_json, ARGUMENTS=job.shell_arguments)
        return fill(
            "xpk.sh",
            NAME=job.name,
            CLUSTER=shlex.quote(self._cluster),
            TPU_TYPE=self._tpu_type,
            NUM_SLICES=self._slices.num_slices,
            IMAGE=shlex.quote(self._image),
            MAX_RESTARTS=job.max_restarts,
            RESTARTED=",".join(map(str, RESTARTED_BELOW_SIGNALS)),
            FLAGS="".join(f" {shlex.quote(flag)}" for flag in job.flags),
            HOST=base64.b64encode(host.encode()).decode(),
        )

"""xpk: Google's front of GKE, which makes the JobSet itself and queues it by Kueue."""

import base64
import shlex
from dataclasses import dataclass

from t5lite.launching.exit_policy import RESTARTED_BELOW_SIGNALS
from t5lite.launching.grammars import CLUSTER, IMAGE
from t5lite.launching.job import Job
from t5lite.launching.platform import TpuPlatform
from t5lite.launching.template import fill


@dataclass(kw_only=True)
class Xpk(TpuPlatform):
    """Workloads of a cluster that xpk made."""

    summary = "TPU slices of a GKE cluster that xpk manages"
    client = "xpk"
    suffix = "sh"
    flag_example = "--zone=us-west4-a"

    image: str
    """A container with t5lite (launch/Dockerfile makes one)."""
    cluster: str
    """The cluster's name."""

    def __post_init__(self) -> None:
        IMAGE.check("--image", self.image)
        CLUSTER.check("--cluster", self.cluster)
        super().__post_init__()
        self.missing_disk = "pods do not have"
        self._tpu_type = self.slices.cloud_type

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        host = fill("xpk_host.sh", NAME=job.name, CONFIG=job.config_json, ARGUMENTS=job.shell_arguments)
        return fill(
            "xpk.sh",
            NAME=job.name,
            CLUSTER=shlex.quote(self.cluster),
            TPU_TYPE=self._tpu_type,
            NUM_SLICES=self.slices.num_slices,
            IMAGE=shlex.quote(self.image),
            MAX_RESTARTS=job.max_restarts,
            RESTARTED=",".join(map(str, RESTARTED_BELOW_SIGNALS)),
            FLAGS="".join(f" {shlex.quote(flag)}" for flag in job.flags),
            HOST=base64.b64encode(host.encode()).decode(),
        )

"""GKE: a JobSet on TPU slices, the configuration in a ConfigMap."""

import json
from dataclasses import dataclass

from t5lite.launching.exit_policy import FAILED_FOR_GOOD
from t5lite.launching.grammars import IMAGE
from t5lite.launching.job import Job
from t5lite.launching.platform import TpuPlatform
from t5lite.launching.template import fill


@dataclass(kw_only=True)
class Gke(TpuPlatform):
    """Pods on TPU nodes."""

    summary = "TPU slices of a GKE cluster, as a JobSet"
    client = "kubectl"
    suffix = "yaml"
    flag_example = "--namespace=team"

    image: str
    """A container with t5lite (launch/Dockerfile makes one)."""
    spot: bool = False
    """On Spot nodes."""

    def __post_init__(self) -> None:
        IMAGE.check("--image", self.image)
        super().__post_init__()
        self.missing_disk = "pods do not have"
        self._accelerator = self.slices.gke_accelerator

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        topology = self.slices.topology
        selector = {
            "cloud.google.com/gke-tpu-accelerator": self._accelerator,
            "cloud.google.com/gke-tpu-topology": "x".join(map(str, topology.shape)),
            **({"cloud.google.com/gke-spot": "true"} if self.spot else {}),
        }
        return fill(
            "gke.yaml",
            NAME=job.name,
            CONFIG=job.config_json,
            MAX_RESTARTS=job.max_restarts,
            NUM_SLICES=topology.num_slices,
            HOSTS_PER_SLICE=self.slices.hosts_per_slice,
            CHIPS_PER_HOST=self.slices.chips_per_host,
            FAILED_FOR_GOOD=list(FAILED_FOR_GOOD),
            NODE_SELECTOR=json.dumps(selector),  # JSON is YAML
            IMAGE=_quoted(self.image),
            # Kubernetes reads $(NAME) in arguments, and $$ as $.
            ARGUMENTS=f"[{', '.join(_quoted(word.replace('$', '$$')) for word in job.train_arguments)}]",
        )

    def command(self, job: Job, file: str) -> list[str]:
        """Return the words that start the job from the file."""
        return ["kubectl", "apply", *job.flags, "--filename", file]


def _quoted(text: str) -> str:
    """Return a text as YAML's string in double quotes; JSON's would halve a character beyond 16 bits."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(c if c.isascii() else f"\\U{ord(c):08X}" for c in escaped)
    return f'"{plain}"'

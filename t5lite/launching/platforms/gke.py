"""GKE: a JobSet on TPU slices, the configuration in a ConfigMap."""

import argparse
import json

from t5lite.launching.exit_policy import FAILED_FOR_GOOD
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform, add_image, add_slices
from t5lite.launching.slices import Slices
from t5lite.launching.template import fill


class Gke(Platform):
    """Pods on TPU nodes."""

    summary = "TPU slices of a GKE cluster, as a JobSet"
    client = "kubectl"
    suffix = "yaml"
    flag_example = "--namespace=team"

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this platform alone."""
        add_slices(parser)
        add_image(parser)
        parser.add_argument("--spot", action="store_true", help="on Spot nodes")

    def __init__(self, options: argparse.Namespace):
        self._slices = Slices.of(options)
        self.topology, self.missing_disk = self._slices.topology, "pods do not have"
        self._accelerator = self._slices.gke_accelerator
        self._image, self._spot = options.image, options.spot

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        topology = self._slices.topology
        selector = {
            "cloud.google.com/gke-tpu-accelerator": self._accelerator,
            "cloud.google.com/gke-tpu-topology": "x".join(map(str, topology.shape)),
            **({"cloud.google.com/gke-spot": "true"} if self._spot else {}),
        }
        return fill(
            "gke.yaml",
            NAME=job.name,
            CONFIG=job.config_json,
            MAX_RESTARTS=job.max_restarts,
            NUM_SLICES=topology.num_slices,
            HOSTS_PER_SLICE=self._slices.hosts_per_slice,
            CHIPS_PER_HOST=self._slices.chips_per_host,
            FAILED_FOR_GOOD=list(FAILED_FOR_GOOD),
            NODE_SELECTOR=json.dumps(selector),  # JSON is YAML
            IMAGE=_quoted(self._image),
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

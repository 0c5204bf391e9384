"""Cloud TPU: slices as a queued resource, whose hosts install t5lite by a start-up script."""

import argparse
import shlex

from t5lite.launching.exit_policy import FAILED_FOR_GOOD
from t5lite.launching.grammars import PACKAGE, PROJECT, RUNTIME_VERSION, ZONE, pip_words
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform, add_slices
from t5lite.launching.slices import Slices
from t5lite.launching.template import fill


class CloudTpu(Platform):
    """TPU VMs."""

    summary = "Cloud TPU slices as a queued resource"
    client = "gcloud"
    suffix = "sh"
    flag_example = "--reserved"

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this platform alone."""
        add_slices(parser)
        parser.add_argument("--zone", type=ZONE, required=True, help="such as us-west4-a")
        parser.add_argument("--project", type=PROJECT, help="default: gcloud's")
        parser.add_argument("--spot", action="store_true", help="cheaper, and taken away at any time")
        parser.add_argument(
            "--package",
            type=PACKAGE,
            required=True,
            metavar="REQUIREMENT",
            help="what pip installs on every host: 't5lite[tpu,gcs] @ git+https://HOST/t5lite@COMMIT'; "
            "options that say where it finds packages (-f, --index-url, --extra-index-url, --pre) may follow",
        )
        parser.add_argument(
            "--runtime-version",
            type=RUNTIME_VERSION,
            metavar="NAME",
            help="of the TPU VMs (default: Cloud's for the chip)",
        )

    def __init__(self, options: argparse.Namespace):
        self._slices = Slices.of(options)
        self.topology, self.missing_disk = self._slices.topology, "hosts of a TPU slice do not have"
        self._accelerator_type = self._slices.cloud_type
        self._runtime_version = (
            self._slices.runtime_version if options.runtime_version is None else options.runtime_version
        )
        self._package, self._spot = options.package, options.spot
        self._place = [
            f"--zone={options.zone}",
            *([f"--project={options.project}"] if options.project else []),
        ]

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        num_slices = self._slices.num_slices
        several = num_slices > 1
        nodes = (
            [f"--node-count={num_slices}", f"--node-prefix={job.name}"]
            if several
            else [f"--node-id={job.name}"]
        )
        flags = [*(["--spot"] if self._spot else []), *job.flags]
        final = " ".join(map(str, FAILED_FOR_GOOD))
        startup = fill(
            "tpu_startup.sh",
            NAME=job.name,
            PACKAGE=shlex.join(pip_words(self._package)),
            CONFIG=job.config_json,
            ARGUMENTS=job.shell_arguments,
            UNIT=fill("t5lite.service", MAX_STARTS=job.max_restarts + 1, FINAL=final).removesuffix("\n"),
        )
        return fill(
            "tpu.sh",
            NAME=job.name,
            PLACE=shlex.join(self._place),
            STARTUP=startup.removesuffix("\n"),
            NODES=shlex.join(nodes),
            FIRST_NODE=f"{job.name}-0" if several else job.name,
            ACCELERATOR_TYPE=self._accelerator_type,
            RUNTIME_VERSION=shlex.quote(self._runtime_version),
            FLAGS="".join(f" {shlex.quote(flag)}" for flag in flags),
        )

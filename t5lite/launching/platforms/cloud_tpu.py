"""Cloud TPU: slices as a queued resource, whose hosts install t5lite by a start-up script."""

import shlex
from dataclasses import dataclass

from t5lite.launching.exit_policy import FAILED_FOR_GOOD
from t5lite.launching.grammars import PACKAGE, PROJECT, RUNTIME_VERSION, ZONE, pip_words
from t5lite.launching.job import Job
from t5lite.launching.platform import TpuPlatform
from t5lite.launching.template import fill


@dataclass(kw_only=True)
class CloudTpu(TpuPlatform):
    """TPU VMs."""

    summary = "Cloud TPU slices as a queued resource"
    client = "gcloud"
    suffix = "sh"
    flag_example = "--reserved"

    zone: str
    """Such as us-west4-a."""
    project: str | None = None
    """Gcloud's by default."""
    spot: bool = False
    """Cheaper, and taken away at any time."""
    package: str
    """What pip installs on every host: 't5lite[tpu,gcs] @ git+https://HOST/t5lite@COMMIT'; options that say
    where it finds packages (-f, --index-url, --extra-index-url, --pre) may follow."""
    runtime_version: str | None = None
    """Of the TPU VMs; Cloud's for the chip by default."""

    def __post_init__(self) -> None:
        ZONE.check("--zone", self.zone)
        PROJECT.check("--project", self.project)
        PACKAGE.check("--package", self.package)
        RUNTIME_VERSION.check("--runtime-version", self.runtime_version)
        super().__post_init__()
        self.missing_disk = "hosts of a TPU slice do not have"
        self._accelerator_type = self.slices.cloud_type
        self._runtime_version = (
            self.slices.runtime_version if self.runtime_version is None else self.runtime_version
        )
        self._place = [
            f"--zone={self.zone}",
            *([f"--project={self.project}"] if self.project else []),
        ]

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        num_slices = self.slices.num_slices
        several = num_slices > 1
        nodes = (
            [f"--node-count={num_slices}", f"--node-prefix={job.name}"]
            if several
            else [f"--node-id={job.name}"]
        )
        flags = [*(["--spot"] if self.spot else []), *job.flags]
        final = " ".join(map(str, FAILED_FOR_GOOD))
        startup = fill(
            "tpu_startup.sh",
            NAME=job.name,
            PACKAGE=shlex.join(pip_words(self.package)),
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

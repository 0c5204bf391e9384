"""A Slurm cluster: one task a GPU, which is how JAX reads Slurm's variables."""

import re
import shlex
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.launching.exit_policy import FINAL, MISTAKES, shell_pattern
from t5lite.launching.job import Job
from t5lite.launching.platform import HostPlatform, gpus, no_shared_disk, positive
from t5lite.launching.template import fill

_TIME = re.compile(r"[0-9]+(:[0-9]+){0,2}|[0-9]+-[0-9]+(:[0-9]+){0,2}")
_SIGNAL_SECONDS = 300
"""Before the time limit, in which training saves."""
_OFFSET = 200
"""Above every code that a signal brings (128 and up to 64)."""


@dataclass(kw_only=True)
class Slurm(HostPlatform):
    """Nodes of a cluster."""

    summary = "a Slurm cluster, one task a GPU"
    client = "sbatch"
    suffix = "sbatch"
    flag_example = "--partition=gpu"
    keeps_order = True

    chips: str | None = None
    """Accelerators, such as h100-16: two nodes of eight GPUs; what is checked to fit."""
    nodes: int | None = None
    """Instead of --chips: nodes, 1 by default."""
    gpus_per_node: int | None = None
    """GPUs and tasks of each node."""
    tasks_per_node: int | None = None
    """Without GPUs: processes of each node, 1 by default."""
    time: str = "24:00:00"
    """Limit of one start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "nodes", "gpus_per_node", "tasks_per_node")
        if not _TIME.fullmatch(self.time):
            raise ConfigError(
                f"--time {self.time!r} must be as sbatch takes it, such as 12:00:00 or 2-00:00:00"
            )
        self.topology = gpus(self.chips)
        given = [
            name for name in ("nodes", "gpus_per_node", "tasks_per_node") if getattr(self, name) is not None
        ]
        if self.topology is not None and given:
            raise ConfigError(
                f"--chips {self.chips} says what --{given[0].replace('_', '-')} would; leave one out"
            )
        if self.gpus_per_node is not None and self.tasks_per_node is not None:
            raise ConfigError("--gpus-per-node is also the number of tasks; leave out --tasks-per-node")
        if self.topology is not None:
            self._nodes, self._gpus = self.topology.shape
        else:
            self._nodes, self._gpus = self.nodes or 1, self.gpus_per_node or 0
        self._tasks = self._gpus or self.tasks_per_node or 1
        self.missing_disk = no_shared_disk(self._nodes, shared=self.shared_filesystem)

    def render(self, job: Job) -> str:
        """Return the file that starts the job."""
        asked = [f"--nodes={self._nodes}", f"--ntasks-per-node={self._tasks}", f"--time={self.time}"]
        asked += [f"--gpus-per-node={self._gpus}"] if self._gpus else []
        asked += [_quoted_for_sbatch(flag) for flag in job.flags]
        return fill(
            "slurm.sbatch",
            NAME=job.name,
            OPTIONS="\n".join(f"#SBATCH {option}" for option in asked),
            SIGNAL_SECONDS=_SIGNAL_SECONDS,
            MAX_RESTARTS=job.max_restarts,
            OFFSET=_OFFSET,
            MISTAKES=shell_pattern(MISTAKES),
            OFFSET_MISTAKES=shell_pattern(tuple(code + _OFFSET for code in MISTAKES)),
            FINAL=shell_pattern(FINAL),
            T5LITE=shlex.quote(self.t5lite),
            ARGUMENTS=job.shell_arguments,
            CONFIG=job.config_json,
        )

    def command(self, job: Job, file: str) -> list[str]:
        """Return the words that start the job from the file."""
        return ["sbatch", file]

    def shell_line(self, job: Job, file: str, *, after: str | None = None, awaited: bool = False) -> str:
        """Return the line of a shell script that starts the job, and notes its number if others await it."""
        options = "" if after is None else f'--dependency=afterok:"${_variable(after)}" '
        if not awaited:
            return f"sbatch {options}{shlex.quote(file)}"
        return f"{_variable(job.name)}=$(sbatch --parsable {options}{shlex.quote(file)})"


def _variable(name: str) -> str:
    """Return a shell's name of a job."""
    return name.replace("-", "_")


def _quoted_for_sbatch(flag: str) -> str:
    """Return a flag as sbatch reads it in a script: a backslash escapes in any quotes, as in no shell."""
    if shlex.quote(flag) == flag:
        return flag
    escaped = flag.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

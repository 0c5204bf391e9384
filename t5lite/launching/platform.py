"""What every platform says of itself: its options, its machines, its file, and the client that takes it."""

import abc
import shlex
from dataclasses import dataclass, field
from typing import ClassVar

from t5lite.core.errors import ConfigError
from t5lite.launching.grammars import PROGRAM
from t5lite.launching.job import Job
from t5lite.launching.slices import Slices
from t5lite.planning.hardware.accelerator_types import parse_chips
from t5lite.planning.hardware.topology import Topology


@dataclass(kw_only=True)
class Platform(abc.ABC):
    """One kind of place where runs are started; its fields are the options that it takes.

    Raises:
      ConfigError: for options that are wrong or contradict each other.
    """

    summary: ClassVar[str]
    client: ClassVar[str]
    """The program that has to be here to start a job."""
    suffix: ClassVar[str]
    """Of the file that is rendered."""
    flag_example: ClassVar[str | None]
    """One of the client's flags that a user may need; None where it takes none."""
    keeps_order: ClassVar[bool] = False
    """Whether the client can have a job wait for the success of another."""

    max_restarts: int = 100
    """How often it is started again after an end that another start may mend."""
    topology: Topology | None = field(init=False)
    """The accelerators; None where they are not known."""
    missing_disk: str | None = field(init=False)
    """Which disk the machines lack, to follow "on a disk that"; None where they may have our paths."""

    @abc.abstractmethod
    def render(self, job: Job) -> str:
        """Return the file that starts the job."""

    def command(self, job: Job, file: str) -> list[str]:
        """Return the words that start the job from the file."""
        del job
        return ["bash", file]

    def shell_line(self, job: Job, file: str, *, after: str | None = None, awaited: bool = False) -> str:
        """Return the line of a shell script that starts the job from the file.

        Args:
          job: which.
          file: that starts it.
          after: name of the job of an earlier line that must succeed before, where the platform
            ``keeps_order``.
          awaited: whether a later line is to name this job so.
        """
        del after, awaited
        return shlex.join(self.command(job, file))


@dataclass(kw_only=True)
class TpuPlatform(Platform):
    """A place that has TPU slices."""

    chips: str
    """Accelerators, such as v5e-16, v5p-128 or v6e:4x8; what is checked to fit."""
    num_slices: int = 1
    """Slices of that many chips."""

    def __post_init__(self) -> None:
        self.slices = Slices.of(self.chips, self.num_slices)
        self.topology = self.slices.topology


@dataclass(kw_only=True)
class HostPlatform(Platform):
    """A place whose hosts have t5lite."""

    t5lite: str = "t5lite"
    """The program on the hosts."""
    shared_filesystem: bool = False
    """Local paths lie where every host sees the same files (Lustre, NFS)."""

    def __post_init__(self) -> None:
        PROGRAM.check("--t5lite", self.t5lite)


def gpus(name: str | None) -> Topology | None:
    """Return the GPUs that ``--chips`` names.

    Raises:
      ConfigError: if these are no GPUs.
    """
    if name is None:
        return None
    topology = parse_chips(name)
    if topology.chip.platform != "gpu":
        raise ConfigError(f"--chips {name} are no GPUs; TPU slices are started by tpu, gke or xpk")
    return topology


def positive(options: Platform, *names: str) -> None:
    """Check options that are numbers of something.

    Raises:
      ConfigError: for one that is not positive.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value} must be 1 or more")


def no_shared_disk(num_hosts: int, *, shared: bool) -> str | None:
    """Return why several machines of a network do not see a path; None where they do, or there is one."""
    if num_hosts == 1 or shared:
        return None
    return f"{num_hosts} hosts do not share (if they do, say --shared-filesystem)"

"""What every platform says of itself: its options, its machines, its file, and the client that takes it."""

import abc
import argparse
from typing import ClassVar

from t5lite.core.errors import ConfigError
from t5lite.launching.grammars import IMAGE, PROGRAM
from t5lite.launching.job import Job
from t5lite.planning.hardware.accelerator_types import parse_chips
from t5lite.planning.hardware.topology import Topology


class Platform(abc.ABC):
    """One kind of place where runs are started.

    Args:
      options: what ``add_options`` asked for.

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
    max_restarts: ClassVar[int] = 100

    topology: Topology | None
    """The accelerators; None where they are not known."""
    missing_disk: str | None
    """Which disk the machines lack, to follow "on a disk that"; None where they may have our paths."""

    @staticmethod
    @abc.abstractmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this platform alone."""

    @abc.abstractmethod
    def __init__(self, options: argparse.Namespace): ...

    @abc.abstractmethod
    def render(self, job: Job) -> str:
        """Return the file that starts the job."""

    def command(self, job: Job, file: str) -> list[str]:
        """Return the words that start the job from the file."""
        del job
        return ["bash", file]


def add_chips(parser: argparse.ArgumentParser, *, required: bool, example: str) -> None:
    """Add the options that name accelerators."""
    parser.add_argument(
        "--chips",
        required=required,
        metavar="CHIPS",
        help=f"accelerators, such as {example}; what is checked to fit",
    )


def add_slices(parser: argparse.ArgumentParser) -> None:
    """Add the options that name TPU slices."""
    add_chips(parser, required=True, example="v5e-16, v5p-128 or v6e:4x8")
    parser.add_argument(
        "--num-slices", type=int, default=1, metavar="N", help="slices of that many chips (default: 1)"
    )


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


def positive(options: argparse.Namespace, *names: str) -> None:
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


def add_shared_filesystem(parser: argparse.ArgumentParser) -> None:
    """Add the option by which a user answers for a network's disk."""
    parser.add_argument(
        "--shared-filesystem",
        action="store_true",
        help="local paths lie where every host sees the same files (Lustre, NFS)",
    )


def add_program(parser: argparse.ArgumentParser, *, of: str) -> None:
    """Add the option that names t5lite where it runs."""
    parser.add_argument(
        "--t5lite",
        type=PROGRAM,
        default="t5lite",
        metavar="PATH",
        help=f"the program on the {of} (default: t5lite)",
    )


def add_image(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a container image."""
    parser.add_argument(
        "--image", type=IMAGE, required=True, help="a container with t5lite (launch/Dockerfile makes one)"
    )

"""TPU slices as Cloud sells them: names, hosts, labels of nodes."""

import math
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.planning.hardware.accelerator_types import CLOUD_NAMES, accelerator_type, parse_chips
from t5lite.planning.hardware.topology import Topology


@dataclass(frozen=True, kw_only=True)
class _Generation:
    runtime_version: str | None
    """Of a TPU VM; None where the Cloud TPU API has none."""
    gke: str | None
    """Label ``gke-tpu-accelerator``; None where GKE's slices are not made for it."""
    whole_hosts: tuple[int, ...]
    """Sizes of slices that are one host."""


_GENERATIONS = {
    "v2": _Generation(runtime_version="tpu-ubuntu2204-base", gke=None, whole_hosts=(4,)),
    "v3": _Generation(runtime_version="tpu-ubuntu2204-base", gke=None, whole_hosts=(4,)),
    "v4": _Generation(runtime_version="tpu-ubuntu2204-base", gke="tpu-v4-podslice", whole_hosts=(4,)),
    "v5e": _Generation(
        runtime_version="v2-alpha-tpuv5-lite",
        gke="tpu-v5-lite-podslice",
        whole_hosts=(1, 4, 8),
    ),
    "v5p": _Generation(runtime_version="v2-alpha-tpuv5", gke="tpu-v5p-slice", whole_hosts=(4,)),
    "v6e": _Generation(runtime_version="v2-alpha-tpuv6e", gke="tpu-v6e-slice", whole_hosts=(1, 4, 8)),
    "tpu7x": _Generation(runtime_version=None, gke="tpu7x", whole_hosts=(1, 4)),
}
_CHIPS_PER_HOST = 4
"""Of a slice of several hosts, in every generation."""


@dataclass(frozen=True)
class Slices:
    """TPU slices that train together, and what Cloud calls them."""

    topology: Topology

    @classmethod
    def of(cls, chips: str, num_slices: int) -> "Slices":
        """Return the slices that ``--chips`` and ``--num-slices`` name.

        Raises:
          ConfigError: if these are no TPUs, or Cloud has no such slice.
        """
        topology = parse_chips(chips, num_slices=num_slices)
        if topology.chip_name not in _GENERATIONS:
            raise ConfigError(f"--chips {chips} are no TPUs; GPUs are started by slurm or ssh")
        slices = cls(topology)
        if slices.num_chips % slices.chips_per_host:
            whole = ", ".join(map(str, slices._generation.whole_hosts))
            raise ConfigError(
                f"--chips {chips}: {slices.num_chips} chips of {topology.chip_name} are no whole "
                f"hosts; a slice has {whole} chips on one host, or a multiple of {_CHIPS_PER_HOST}"
            )
        return slices

    @property
    def _generation(self) -> _Generation:
        return _GENERATIONS[self.topology.chip_name]

    @property
    def num_chips(self) -> int:
        """Chips of one slice."""
        return math.prod(self.topology.shape)

    @property
    def num_slices(self) -> int:
        """Slices that train together."""
        return self.topology.num_slices

    @property
    def chips_per_host(self) -> int:
        """Chips of each host."""
        return self.num_chips if self.num_chips in self._generation.whole_hosts else _CHIPS_PER_HOST

    @property
    def hosts_per_slice(self) -> int:
        """Hosts of one slice."""
        return self.num_chips // self.chips_per_host

    @property
    def runtime_version(self) -> str:
        """The software of a TPU VM.

        Raises:
          ConfigError: if there are no TPU VMs of the generation.
        """
        version = self._generation.runtime_version
        if version is None:
            raise ConfigError(f"the Cloud TPU API has no {self.topology.chip_name}; start it by gke or xpk")
        return version

    @property
    def cloud_type(self) -> str:
        """The accelerator type, such as ``v5litepod-16``.

        Raises:
          ConfigError: for an arrangement that a number does not name.
        """
        name = accelerator_type(self.topology)
        usual = parse_chips(name, num_slices=self.topology.num_slices)
        if usual != self.topology:
            raise ConfigError(
                f"{self.topology.slice_name} has no accelerator type: {name} is arranged as "
                f"{usual.slice_name}; use that, or gke, which takes the arrangement"
            )
        chip = self.topology.chip_name
        return name.replace(chip, CLOUD_NAMES.get(chip, chip))

    @property
    def gke_accelerator(self) -> str:
        """The label of a node that has such chips.

        Raises:
          ConfigError: if GKE's slices are not made for them.
        """
        label = self._generation.gke
        if label is None:
            known = ", ".join(name for name, each in _GENERATIONS.items() if each.gke)
            raise ConfigError(f"GKE has no slices of {self.topology.chip_name}; it has {known}")
        return label

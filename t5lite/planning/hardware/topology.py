"""Hardware that need not be here: its arrangement, and its devices as a compiler sees them.

libtpu compiles for any TPU slice on any Linux machine, XLA's CUDA plugin for GPUs. A slice is named by its
chips along its torus, ``v5e:16x16`` or ``v5p:4x4x8``; GPUs by nodes and GPUs a node, ``h100:8x8``.
"""

import contextlib
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.planning.hardware import gpu
from t5lite.planning.hardware.chips import CHIPS, CUBE, Chip

_MOST_DEVICES = 1 << 17
"""More than were ever trained on together; a compiler would make each of them before it says no."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Chips in their arrangement, and how many such slices there are."""

    chip_name: str
    shape: tuple[int, ...]
    """Chips along each dimension of a slice's torus."""
    num_slices: int = 1

    @property
    def chip(self) -> Chip:
        """The kind of device."""
        return CHIPS[self.chip_name]

    @property
    def num_devices(self) -> int:
        """JAX devices of all slices."""
        return math.prod(self.shape) * self.chip.devices_per_chip * self.num_slices

    @property
    def wraps(self) -> tuple[bool, ...]:
        """Whether each dimension of a slice is a ring."""
        side = self.chip.pod_side
        if side is None:
            return (all(size % CUBE == 0 for size in self.shape),) * len(self.shape)
        return tuple(size == side for size in self.shape)

    @property
    def slice_name(self) -> str:
        """One slice's name, as ``parse_topology`` takes it."""
        return f"{self.chip_name}:{'x'.join(map(str, self.shape))}"

    def __str__(self) -> str:
        return f"{self.num_slices} x {self.slice_name}" if self.num_slices > 1 else self.slice_name


def parse_topology(name: str, *, num_slices: int = 1) -> Topology:
    """Return the topology of a name such as ``v5e:16x16``, ``v5p:4x4x8`` or ``h100:8x8``.

    Raises:
      ConfigError: for an unknown chip or a shape that the chip does not come in.
    """
    chip_name, _, dims = name.partition(":")
    if chip_name not in CHIPS:
        raise ConfigError(
            f"topology {name!r} names no known chip{suggestion(chip_name, CHIPS)}, each with its "
            "arrangement, such as v5e:16x16 or v5p:4x4x8"
        )
    num_dims = CHIPS[chip_name].torus_dims
    sizes = dims.split("x")
    if len(sizes) != num_dims or not all(re.fullmatch(r"[1-9]\d{0,4}", size) for size in sizes):
        example = "x".join(["4"] * num_dims)
        raise ConfigError(
            f"topology {name!r}: {chip_name} is arranged in {num_dims} dimensions, such as "
            f"{chip_name}:{example}"
        )
    if num_slices < 1:
        raise ConfigError(f"num_slices={num_slices} must be 1 or more")
    if num_slices > 1 and CHIPS[chip_name].platform == "gpu":
        raise ConfigError(f"num_slices={num_slices} is of TPUs; name all the nodes: {chip_name}:NODESxGPUS")
    topology = Topology(chip_name=chip_name, shape=tuple(map(int, sizes)), num_slices=num_slices)
    if topology.num_devices > _MOST_DEVICES:
        raise ConfigError(
            f"{topology} has {topology.num_devices:,} devices; give one of at most {_MOST_DEVICES:,}"
        )
    return topology


def compile_only_devices(topology: Topology) -> Sequence[Any]:
    """Return the devices of a topology, for which programs can be compiled and not run.

    Raises:
      ConfigError: if the compiler is not installed, or knows no such arrangement.
    """
    if topology.chip.platform == "gpu":
        return gpu.compile_only_gpus(topology.chip_name, topology.chip.device_kind, shape=topology.shape)
    if util.find_spec("libtpu") is None:
        raise ConfigError(
            f"compiling for {topology} needs libtpu, which runs on any Linux machine: "
            "pip install 't5lite[tpu]'"
        )
    # Without these libtpu waits for a TPU's metadata server, and refuses to be loaded by a second process.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    from jax.experimental import topologies

    options: dict[str, Any] = dict(topology.chip.compiler_options)
    if topology.num_slices > 1:
        options["num_slices"] = topology.num_slices
    try:
        with _quiet_stderr():
            return topologies.get_topology_desc(topology.slice_name, "tpu", **options).devices
    except Exception as error:  # XLA raises a kind of its own, which JAX does not name
        cause = str(error).strip().splitlines()[0][:200]
        raise ConfigError(f"libtpu knows no slice {topology}: {cause}") from error


def coordinates(devices: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """Return where each device is: its slice, then its place along each dimension of the torus.

    Of a GPU: 0, its node, and its place there.
    """
    if devices[0].platform != "tpu":
        first = {}
        for device in devices:
            first[device.process_index] = min(device.id, first.get(device.process_index, device.id))
        return tuple((0, device.process_index, device.id - first[device.process_index]) for device in devices)
    return tuple((getattr(device, "slice_index", 0) or 0, *device.coords) for device in devices)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send what libraries write to the process's stderr to nowhere: libtpu warns that there is no TPU."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

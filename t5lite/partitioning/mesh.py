"""The device mesh: four named axes, outermost (slowest network) first.

``replica`` crosses slices and only ever carries data parallelism; ``fsdp`` carries data and shards
parameters; ``sequence`` and ``tensor`` split one example and want the fastest links.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from t5lite.core.errors import ConfigError

AXES = ("replica", "fsdp", "sequence", "tensor")
"""The axes of a mesh, which carry the more the later they stand."""


@dataclass(frozen=True, kw_only=True)
class PartitioningConfig:
    """How many devices each mesh axis gets, and which rules put arrays on them."""

    replica: int = 1
    """Copies of the parameters: data parallelism, across slices too. -1 = the devices left over."""
    fsdp: int = -1
    """Devices that share the batch and, by style, one copy of the parameters. -1 = the rest."""
    sequence: int = 1
    """Devices that share the length of one example (style sequence_parallel). -1 = the rest."""
    tensor: int = 1
    """Devices that share heads, mlp and vocab of one layer (tensor styles). -1 = the rest."""
    style: Literal["data_parallel", "fsdp", "tensor_parallel", "sequence_parallel"] = "fsdp"
    """Rules table: which logical axes are sharded (see partitioning/rules.py)."""
    extra_rules: tuple[tuple[str, str | None], ...] = ()
    """Pairs (logical axis, mesh axis or None) that precede the style's rules. Prefix the logical axis by
    "parameters." or "activations." to change one table only; join several mesh axes by "+"."""
    compiler_options: tuple[tuple[str, str], ...] = ()
    """Options of XLA's compiler and their values, before those that t5lite asks for on the chip
    (partitioning/compiler_options.py)."""

    def __post_init__(self) -> None:
        sizes = self.sizes
        for axis, size in sizes.items():
            if size < 1 and size != -1:
                raise ConfigError(
                    f"partitioning.{axis}={size} must be a number of devices, 1 or more, or -1 for the rest"
                )
        open_axes = [axis for axis, size in sizes.items() if size == -1]
        if len(open_axes) > 1:
            raise ConfigError(
                f"only one mesh axis can be -1, got {' and '.join(open_axes)}; "
                f"set partitioning.{open_axes[-1]}=1, or to the number of devices you want"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """The configured size of every mesh axis, -1 still in it."""
        return {axis: getattr(self, axis) for axis in AXES}


def mesh_shape(config: PartitioningConfig, num_devices: int) -> dict[str, int]:
    """Return the size of every mesh axis for ``num_devices``, in the order of ``AXES``.

    Raises:
      ConfigError: if the sizes do not multiply to ``num_devices``. Idle devices are never meant.
    """
    sizes = config.sizes
    fixed = math.prod(size for size in sizes.values() if size != -1)
    written = (
        " x ".join(f"{axis}={size}" for axis, size in sizes.items() if size not in (1, -1)) or "all axes=1"
    )
    open_axis = next((axis for axis, size in sizes.items() if size == -1), None)
    if open_axis is None:
        if fixed != num_devices:
            raise ConfigError(
                f"mesh {written} needs {fixed} devices but {num_devices} are there; "
                "set one of partitioning.replica, fsdp, sequence, tensor to -1 to take the rest"
            )
        return sizes
    if num_devices % fixed:
        divisors = ", ".join(str(d) for d in range(1, num_devices + 1) if num_devices % d == 0)
        raise ConfigError(
            f"mesh {written} = {fixed} does not divide {num_devices} devices; "
            f"the fixed axes must multiply to one of {divisors}"
        )
    return {**sizes, open_axis: num_devices // fixed}


def device_array(shape: dict[str, int], devices: Sequence[Any]) -> np.ndarray:
    """Return ``devices`` arranged as ``shape``, so that slices differ along ``replica`` only.

    Within a slice JAX places the axes for the physical topology (``mesh_utils``); the data positions are
    then grouped by host, so that every host loads one contiguous part of the batch.

    Raises:
      ConfigError: if the number of slices does not divide ``replica``.
    """
    sizes = tuple(shape.values())
    num_slices = len({getattr(device, "slice_index", 0) for device in devices})
    if num_slices == 1:
        return _group_by_host(mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True))
    check_slices(shape, num_slices)
    within = (sizes[0] // num_slices, *sizes[1:])
    across = (num_slices, *(1 for _ in sizes[1:]))
    return _group_by_host(
        mesh_utils.create_hybrid_device_mesh(within, across, devices, allow_split_physical_axes=True)
    )


def check_slices(shape: dict[str, int], num_slices: int) -> None:
    """Check that slices differ along ``replica`` only.

    Raises:
      ConfigError: if their number does not divide it.
    """
    if shape["replica"] % num_slices:
        raise ConfigError(
            f"partitioning.replica={shape['replica']} is not a multiple of the {num_slices} slices; use "
            f"partitioning.replica={num_slices}, so that only gradient sums cross the data-centre network"
        )


def make_mesh(config: PartitioningConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Return the mesh over ``devices`` (default: all devices of all hosts), its axes of type Auto.

    Auto, not JAX's default Explicit: shardings of intermediate arrays are inferred by XLA from the
    constraints that ``rules.constrain`` places.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    return Mesh(device_array(shape, devices), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _group_by_host(devices: np.ndarray) -> np.ndarray:
    """Reorder positions of (replica, fsdp) so that those of one host are adjacent.

    A host of a TPU slice is a block of the torus, whose chips are not adjacent in row-major order. Hosts
    keep the order in which they first appear, hence slices stay together; ``sequence`` and ``tensor``
    groups move as a whole.
    """
    positions = devices.reshape(devices.shape[0] * devices.shape[1], -1)
    hosts = [min(device.process_index for device in position) for position in positions]
    appearance = {host: rank for rank, host in enumerate(dict.fromkeys(hosts))}
    order = sorted(range(len(hosts)), key=lambda i: appearance[hosts[i]])
    return positions[order].reshape(devices.shape)

"""Data sheets of the accelerators that programs can be compiled for; figures of one JAX device.

A TPU v2, v3 or TPU7x chip is two devices; a v4 or v5p chip, of two cores as well, is one. GPUs are those of
eight to a node, connected by NVLink, with a network adapter each.
"""

from dataclasses import dataclass
from typing import Literal

from t5lite.core.data_sheets import bfloat16_peak

MIB, GIB = 2**20, 2**30
CUBE = 4
"""Side of the cubes that a TPU with a three-dimensional torus is cabled in, and its larger slices made of."""
_TPU_DOCS = "cloud.google.com/tpu/docs"
"""Vector memory is that of jax/_src/pallas/mosaic/tpu_info.py (JAX 0.10), which has it by core."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One device of a kind, and how such devices are wired."""

    device_kind: str
    """``jax.Device.device_kind``."""
    memory_bytes: int
    """Main memory (HBM) that a program can use: what the TPU's compiler says is available; of a GPU's the
    three quarters that JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise."""
    memory_bandwidth: float
    """Bytes a second of it."""
    on_chip_bytes: int
    """Memory of the chip's own through which a device's programs pass arrays: vector memory (VMEM) of a TPU's
    cores, the level-2 cache of a GPU."""
    link_bandwidth: float
    """Bytes a second that a device sends within its slice or node, by all links together."""
    network_bandwidth: float
    """Bytes a second that a device sends to other slices or nodes: its share of their network."""
    torus_dims: int
    """Numbers in the name of an arrangement: dimensions of the torus; nodes and GPUs a node."""
    devices_per_chip: int = 1
    cores_per_chip: int = 1
    """What Cloud counts in the name of a slice."""
    pod_side: int | None = None
    """A dimension of this size wraps around; None: all do where each is a multiple of 4 (cubes of 4x4x4)."""
    platform: Literal["tpu", "gpu"] = "tpu"
    compiler_options: tuple[tuple[str, str], ...] = ()
    """What the compiler must be told of the chip besides its name."""
    source: str
    """Where the figures are from."""

    @property
    def flops_per_second(self) -> float:
        """Dense bfloat16 peak: the one that MFU is relative to.

        Raises:
          ValueError: if ``core.data_sheets`` does not have it.
        """
        peak = bfloat16_peak(self.device_kind)
        if peak is None:
            raise ValueError(f"core.data_sheets has no peak of a {self.device_kind}")
        return peak


CHIPS: dict[str, Chip] = {
    "v2": Chip(
        device_kind="TPU v2",
        memory_bytes=int(7.48 * GIB),
        memory_bandwidth=0.35e12,
        on_chip_bytes=16 * MIB,
        link_bandwidth=124e9,
        network_bandwidth=3.125e9,
        torus_dims=2,
        devices_per_chip=2,
        cores_per_chip=2,
        pod_side=16,
        source=f"{_TPU_DOCS}/v2; the network between slices is assumed",
    ),
    "v3": Chip(
        device_kind="TPU v3",
        memory_bytes=int(15.48 * GIB),
        memory_bandwidth=0.45e12,
        on_chip_bytes=16 * MIB,
        link_bandwidth=164e9,
        network_bandwidth=3.125e9,
        torus_dims=2,
        devices_per_chip=2,
        cores_per_chip=2,
        pod_side=32,
        source=f"{_TPU_DOCS}/v3; the network between slices is assumed",
    ),
    "v4": Chip(
        device_kind="TPU v4",
        memory_bytes=int(30.75 * GIB),
        memory_bandwidth=1.2e12,
        on_chip_bytes=2 * 16 * MIB,
        link_bandwidth=300e9,
        network_bandwidth=6.25e9,
        torus_dims=3,
        cores_per_chip=2,
        compiler_options=(("chip_config_name", "megacore"),),
        source=f"{_TPU_DOCS}/v4; the network between slices is assumed",
    ),
    "v5e": Chip(
        device_kind="TPU v5 lite",
        memory_bytes=int(15.75 * GIB),
        memory_bandwidth=0.819e12,
        on_chip_bytes=128 * MIB,
        link_bandwidth=200e9,
        network_bandwidth=3.125e9,
        torus_dims=2,
        pod_side=16,
        source=f"{_TPU_DOCS}/v5e",
    ),
    "v5p": Chip(
        device_kind="TPU v5",
        memory_bytes=int(95.73 * GIB),
        memory_bandwidth=2.765e12,
        on_chip_bytes=2 * 64 * MIB,
        link_bandwidth=600e9,
        network_bandwidth=6.25e9,
        torus_dims=3,
        cores_per_chip=2,
        source=f"{_TPU_DOCS}/v5p",
    ),
    "v6e": Chip(
        device_kind="TPU v6 lite",
        memory_bytes=int(31.24 * GIB),
        memory_bandwidth=1.638e12,
        on_chip_bytes=128 * MIB,
        link_bandwidth=400e9,
        network_bandwidth=12.5e9,
        torus_dims=2,
        pod_side=16,
        source=f"{_TPU_DOCS}/v6e",
    ),
    "tpu7x": Chip(
        device_kind="TPU7x",
        memory_bytes=int(94.74 * GIB),
        memory_bandwidth=3.69e12,
        on_chip_bytes=64 * MIB,
        link_bandwidth=300e9,
        network_bandwidth=6.25e9,
        torus_dims=3,
        devices_per_chip=2,
        cores_per_chip=2,
        source=f"{_TPU_DOCS}/tpu7x",
    ),
    "a100": Chip(
        device_kind="NVIDIA A100-SXM4-80GB",
        memory_bytes=int(0.75 * 80 * GIB),
        memory_bandwidth=2.04e12,
        on_chip_bytes=40 * MIB,
        link_bandwidth=300e9,
        network_bandwidth=25e9,
        torus_dims=2,
        platform="gpu",
        source="NVIDIA's data sheets of A100 80GB SXM, A100 architecture paper, DGX A100 (8 x 200 Gb/s)",
    ),
    "h100": Chip(
        device_kind="NVIDIA H100 80GB HBM3",
        memory_bytes=int(0.75 * 79.6 * GIB),
        memory_bandwidth=3.35e12,
        on_chip_bytes=50 * MIB,
        link_bandwidth=450e9,
        network_bandwidth=50e9,
        torus_dims=2,
        platform="gpu",
        source="NVIDIA's data sheets of H100 SXM, H100 architecture paper, DGX H100 (8 x 400 Gb/s)",
    ),
}

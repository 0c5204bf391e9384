"""GPUs that need not be here: XLA compiles for a description of the device.

The description is XLA's ``GpuTargetConfigProto`` in text form; its figures are the device's limits as CUDA
reports them, and the versions of the libraries are those of JAX's CUDA 13 wheels.
"""

import os
from collections.abc import Sequence
from importlib import util
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.partitioning.compiler_options import Options

COMPILER_OPTIONS: Options = (("xla_gpu_enable_triton_gemm", "false"),)
"""Triton's matrix products need a GPU to find tiles that fit; cuBLAS, to which they fall back, does not."""

_LIMITS = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 48 * 1024,
    "threads_per_core_limit": 2048,
    "fpus_per_core": 0,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "registers_per_core_limit": 64 * 1024,
    "registers_per_block_limit": 64 * 1024,
}
"""What all these GPUs have in common, and names of what they have not."""
_DEVICES: dict[str, dict[str, int | float]] = {
    "a100": {
        "shared_memory_per_core": 164 * 1024,
        "shared_memory_per_block_optin": 163 * 1024,
        "core_count": 108,
        "fpus_per_core": 64,
        "memory_bandwidth": 2_039_000_000_000,
        "l2_cache_size": 40 * 1024**2,
        "clock_rate_ghz": 1.41,
        "device_memory_size": 80 * 1024**3,
    },
    "h100": {
        "shared_memory_per_core": 228 * 1024,
        "shared_memory_per_block_optin": 227 * 1024,
        "core_count": 132,
        "fpus_per_core": 128,
        "memory_bandwidth": 3_352_000_000_000,
        "l2_cache_size": 50 * 1024**2,
        "clock_rate_ghz": 1.98,
        "device_memory_size": 80 * 1024**3,
    },
}
_COMPUTE_CAPABILITY = {"a100": (8, 0), "h100": (9, 0)}
_CUDNN = (9, 10)
_CUDA = (13, 0, 0)


def target_config(chip_name: str, device_kind: str) -> str:
    """Return the description of a GPU that XLA compiles for."""
    fields = "\n".join(f"  {name}: {value}" for name, value in (_LIMITS | _DEVICES[chip_name]).items())
    major, minor = _COMPUTE_CAPABILITY[chip_name]
    return f"""gpu_device_info {{
{fields}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: {_CUDNN[0]} minor: {_CUDNN[1]} }}
runtime_version {{ major: {_CUDA[0]} minor: {_CUDA[1]} patch: {_CUDA[2]} }}
device_description_str: "{device_kind}"
"""


def compile_only_gpus(chip_name: str, device_kind: str, *, shape: Sequence[int]) -> Sequence[Any]:
    """Return GPUs for which programs can be compiled and not run, node by node.

    Args:
      chip_name: one of ``chips.CHIPS``.
      device_kind: what JAX calls it.
      shape: nodes, and GPUs of each.

    Raises:
      ConfigError: if the compiler is not installed.
    """
    if util.find_spec("jax_plugins") is None or util.find_spec("jax_plugins.xla_cuda13") is None:
        raise ConfigError(
            f"compiling for {chip_name} needs XLA's compiler for CUDA, not a GPU: pip install 't5lite[gpu]'"
        )
    # The plugin looks for a GPU and a driver, and gives up without them, unless told otherwise.
    os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", CUDA_VISIBLE_DEVICES="-1")
    from jax.experimental import topologies

    return topologies.get_topology_desc(
        chip_name,
        "cuda",
        target_config=target_config(chip_name, device_kind),
        topology="x".join(map(str, (1, *shape))),
    ).devices

"""Peak FLOP/s of one device, the denominator of model FLOPs utilisation (MFU)."""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.data_sheets import bfloat16_peak


class Peak(NamedTuple):
    """FLOP/s that one device could do at most."""

    flops_per_second: float
    source: str
    """What MFU is relative to: a data sheet's bfloat16 peak, or a measurement."""


def device_peak(platform: str, device_kind: str) -> Peak | None:
    """Return the peak of such a device: its data sheet's, measured on a CPU, None for an unknown accelerator.

    Args:
      platform: ``jax.Device.platform``.
      device_kind: ``jax.Device.device_kind``.
    """
    if platform == "cpu":
        return _measured_cpu_peak(len(jax.local_devices(backend="cpu")))
    peak = bfloat16_peak(device_kind)
    return None if peak is None else Peak(peak, "data sheet, bfloat16")


@functools.cache
def _measured_cpu_peak(num_devices: int) -> Peak:
    """Time a float32 matmul (about 0.1 s); forced CPU devices share the same cores, so each gets a part."""
    size, repeats = 768, 4
    matrix = jnp.ones((size, size), jnp.float32)
    multiply = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    multiply(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return Peak(2 * size**3 / min(seconds) / num_devices, "measured float32 matmul")

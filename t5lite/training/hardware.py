"""Peak FLOP/s of one device, the denominator of model FLOPs utilisation (MFU)."""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Dense bfloat16 peaks (no sparsity) from the vendors' data sheets, by a substring of `device_kind` in lower
# case; the first match counts, so the longer name stands first. A TPU v2, v3 or 7x device is one of
# two cores.
_PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    ("tpu7x", 1153.5),
    ("tpu v6 lite", 918.0),
    ("tpu v6e", 918.0),
    ("tpu v5p", 459.0),
    ("tpu v5 lite", 197.0),
    ("tpu v5e", 197.0),
    ("tpu v5", 459.0),
    ("tpu v4 lite", 138.0),
    ("tpu v4", 275.0),
    ("tpu v3", 61.5),
    ("tpu v2", 23.0),
    ("gb200", 2500.0),
    ("b200", 2250.0),
    ("h200", 989.4),
    ("h100 pcie", 756.0),
    ("h100 nvl", 835.0),
    ("h100", 989.4),
    ("a100", 312.0),
    ("a10g", 70.0),
    ("l40s", 362.0),
    ("l40", 181.0),
    ("l4", 121.0),
    ("v100", 125.0),
    ("t4", 65.0),
)


class Peak(NamedTuple):
    """FLOP/s that one device could do at most."""

    flops_per_second: float
    source: str
    """What MFU is relative to: a data sheet's bfloat16 peak, or a measurement."""


def device_peak(platform: str, device_kind: str) -> Peak | None:
    """Return the peak of such a device: from the table, measured on a CPU, None for an unknown accelerator.

    Args:
      platform: ``jax.Device.platform``.
      device_kind: ``jax.Device.device_kind``.
    """
    if platform == "cpu":
        return _measured_cpu_peak(len(jax.local_devices(backend="cpu")))
    kind = device_kind.lower()
    for name, tflops in _PEAK_TFLOPS:
        if name in kind:
            return Peak(tflops * 1e12, "data sheet, bfloat16")
    return None


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

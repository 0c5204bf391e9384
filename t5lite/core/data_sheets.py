"""Peaks from data sheets: what MFU and plans are relative to."""

import functools

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


@functools.cache
def bfloat16_peak(device_kind: str) -> float | None:
    """Return the dense bfloat16 FLOP/s of one device, None for a kind whose data sheet is not here.

    Args:
      device_kind: ``jax.Device.device_kind``.
    """
    kind = device_kind.lower()
    return next((tflops * 1e12 for name, tflops in _PEAK_TFLOPS if name in kind), None)

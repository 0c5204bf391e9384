"""What is asked of XLA's compiler and runtime for CPUs."""

import os
from importlib import metadata

import jax

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_FLAGS = {
    # Small matrix products through the YNN library: a T5 step on CPU takes 15-25 % less time.
    f"--{_LIBRARY}": "LIBRARY_FUSION_TYPE_DOT",
    # Sums and maxima of rows in one loop instead of two: 5 to 14 % less. Adding one by one loses digits in
    # the longest sums, norms of parameters and gradients, which are taken in steps (``cpu.sums``).
    "--xla_disable_hlo_passes": "tree_reduction_rewriter",
    # Donated state is updated in place. Else XLA copies it whole every step, parameters and moments.
    "--xla_cpu_copy_insertion_use_region_analysis": "true",
    # LLVM's first level instead of its third: three tenths less to compile, and no slower to run, since
    # products are a library's and the emitters of XLA write the other loops in vectors themselves.
    "--xla_backend_optimization_level": "1",
}
_ASYNC_DISPATCH = "jax_cpu_enable_async_dispatch"
_FLAGS_OF_JAXLIB = ("0.10.", "0.11.")
"""XLA ends the process over a flag it does not know; these are known to the versions they were tried with."""


def set_flags() -> None:
    """Add to XLA_FLAGS what it does not name; call before JAX is asked for devices."""
    if metadata.version("jaxlib").startswith(_FLAGS_OF_JAXLIB):
        given = os.environ.get("XLA_FLAGS", "")
        missing = [f"{flag}={value}" for flag, value in _FLAGS.items() if flag not in given]
        os.environ["XLA_FLAGS"] = " ".join([*filter(None, [given]), *missing])
    if _ASYNC_DISPATCH.upper() not in os.environ:
        # Else a thread of XLA's allocates a step's memory, and the C library keeps only the main thread's.
        jax.config.update(_ASYNC_DISPATCH, False)


def options_of_decoding(compute_dtype: str) -> dict[str, str] | None:
    """Return what ``jax.jit`` asks of XLA for a program that writes token by token; None: nothing.

    Nearly all of its products have few rows. The YNN library turns a kernel into its own order before each,
    which many rows make up for; XLA's own products of float32 take less time (docs/decoding_speed.md).
    Another value in XLA_FLAGS holds, and bfloat16 stays with the library, which multiplies it without floats.
    """
    by_default = f"--{_LIBRARY}={_FLAGS[f'--{_LIBRARY}']}" in os.environ.get("XLA_FLAGS", "").split()
    return {_LIBRARY: ""} if by_default and compute_dtype == "float32" else None

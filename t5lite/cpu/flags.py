"""What is asked of XLA's compiler and runtime for CPUs."""

import os
from importlib import metadata

import jax

_FLAGS = {
    # Small matrix products through the YNN library: a T5 step on CPU takes 15-25 % less time.
    "--xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
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

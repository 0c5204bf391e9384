"""What every command that computes asks of XLA; the user's own XLA_FLAGS and cache directory win."""

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

import jax

from t5lite.cli.host import runs_on_cpu
from t5lite.core.user_cache import user_cache

_CPU_FLAGS = {
    # Small matrix products through the YNN library: a T5 step on CPU takes 15-25 % less time.
    "--xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
    # Sums and maxima of rows in one loop instead of two: 5 to 14 % less. Adding one by one loses digits in
    # the longest sums, norms of parameters and gradients, which are taken in steps (``optim.base``).
    "--xla_disable_hlo_passes": "tree_reduction_rewriter",
    # Donated state is updated in place. Else XLA copies it whole every step, parameters and moments.
    "--xla_cpu_copy_insertion_use_region_analysis": "true",
}
_ASYNC_DISPATCH = "jax_cpu_enable_async_dispatch"
_FLAGS_OF_JAXLIB = "0.10."
"""XLA ends the process over a flag it does not know; these are known to the version they were tried with."""
_MIN_COMPILE_SECONDS = 1.0
_MAX_CACHE_BYTES = 2 << 30


def configure() -> None:
    """Set XLA's flags and its persistent compilation cache; call before JAX is asked for devices.

    A flag that XLA_FLAGS names already is left alone. Compiled programs are kept in ``~/.cache/t5lite/xla``
    (the oldest go when they exceed 2 GiB) unless JAX_COMPILATION_CACHE_DIR names another directory; empty
    turns the cache off. There is none either where that directory cannot be made or written to.
    """
    on_cpu = runs_on_cpu(os.environ.get("JAX_PLATFORMS"))
    if on_cpu and metadata.version("jaxlib").startswith(_FLAGS_OF_JAXLIB):
        given = os.environ.get("XLA_FLAGS", "")
        missing = [f"{flag}={value}" for flag, value in _CPU_FLAGS.items() if flag not in given]
        os.environ["XLA_FLAGS"] = " ".join([*filter(None, [given]), *missing])
    if on_cpu and _ASYNC_DISPATCH.upper() not in os.environ:
        # Else a thread of XLA's allocates a step's memory, and the C library keeps only the main thread's.
        jax.config.update(_ASYNC_DISPATCH, False)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    directory = _cache_directory(cpu_fingerprint() if on_cpu else "accelerator")
    if directory is not None:
        prune(directory, max_bytes=_MAX_CACHE_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)


def cpu_fingerprint() -> str:
    """Return a name for this kind of CPU: a program compiled for one may use instructions another lacks."""
    described = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    for name in ("model name", "flags", "Features"):  # the last is what Arm calls its flags
        described += [line for line in lines if line.partition("\t")[0].strip() == name][:1]
    return "cpu-" + hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]


def prune(directory: Path, *, max_bytes: int) -> None:
    """Delete the oldest files of ``directory`` until the rest has at most ``max_bytes``.

    JAX's own limit (jax_compilation_cache_max_size) needs another package, and makes processes that start
    together wait for each other's lock.
    """
    files = []
    for path in directory.iterdir():
        try:
            status = path.stat()
        except OSError:  # another process was faster
            continue
        files.append((status.st_mtime, status.st_size, path))
    kept_bytes = 0
    for _, size, path in sorted(files, reverse=True):
        kept_bytes += size
        if kept_bytes > max_bytes:
            path.unlink(missing_ok=True)


def _cache_directory(name: str) -> Path | None:
    """Return the directory of this kind of machine, or None where there is no place for one."""
    cache = user_cache("xla")
    if cache is None:
        return None
    directory = cache / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:  # read-only, or a file is in its place
        return None
    return directory if os.access(directory, os.W_OK | os.X_OK) else None

"""What every command that computes asks of XLA; the user's own XLA_FLAGS and cache directory win."""

import os
from pathlib import Path

import jax

from t5lite.core.user_cache import user_cache
from t5lite.cpu.flags import set_flags
from t5lite.cpu.machine import fingerprint, runs_on_cpu

_MIN_COMPILE_SECONDS = 1.0
_MAX_CACHE_BYTES = 2 << 30


def configure() -> None:
    """Set XLA's flags and its persistent compilation cache; call before JAX is asked for devices.

    A flag that XLA_FLAGS names already is left alone. Compiled programs are kept in ``~/.cache/t5lite/xla``
    (the oldest go when they exceed 2 GiB) unless JAX_COMPILATION_CACHE_DIR names another directory; empty
    turns the cache off. There is none either where that directory cannot be made or written to.
    """
    on_cpu = runs_on_cpu(os.environ.get("JAX_PLATFORMS"))
    if on_cpu:
        set_flags()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    directory = _cache_directory(fingerprint() if on_cpu else "accelerator")
    if directory is not None:
        prune(directory, max_bytes=_MAX_CACHE_BYTES)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)


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

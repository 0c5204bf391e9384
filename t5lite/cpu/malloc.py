"""A C library that keeps the memory of a step for the next one. Imports no JAX."""

import os
import sys

from t5lite.cpu.machine import runs_on_cpu

_TUNABLES = "GLIBC_TUNABLES"
_MALLOC = {
    # Pages of 2 MiB where the kernel gives them on request.
    "glibc.malloc.hugetlb": 1,
    # What is freed is kept: nothing is mapped by itself, and no heap shrinks or goes.
    "glibc.malloc.mmap_max": 0,
    "glibc.malloc.trim_threshold": 1 << 40,
    "glibc.malloc.top_pad": 64 << 20,
}


def restart_with_tuned_malloc() -> None:
    """Start this program anew with a C library that keeps its memory, in large pages.

    Returns where it has one already, or where it cannot be had.

    XLA:CPU allocates the memory of every step anew. Taking it from the kernel and giving it back each time,
    in pages of 4 KiB, is an eighth to a third of a step. The C library reads how to do better from
    GLIBC_TUNABLES when a program starts and at no other time. A tunable that it names already is left alone.
    """
    given = os.environ.get(_TUNABLES, "")
    tuned = malloc_tunables(given)
    if tuned != given and sys.platform == "linux" and runs_on_cpu(os.environ.get("JAX_PLATFORMS")):
        os.environ[_TUNABLES] = tuned
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except (OSError, ValueError) as error:  # an interpreter that is gone, or not known; no room for more
            os.environ.pop(_TUNABLES)
            os.environ.update({_TUNABLES: given} if given else {})
            print(
                f"t5lite: memory is not kept between steps ({error}); they may take longer", file=sys.stderr
            )


def malloc_tunables(given: str = "") -> str:
    """Return ``given``, a value of GLIBC_TUNABLES, with what it does not name of what speeds up XLA:CPU."""
    missing = [f"{name}={value}" for name, value in _MALLOC.items() if name not in given]
    return ":".join([*filter(None, [given]), *missing])

"""Which hardware a command will compute on, and large memory pages where that is a CPU. Imports no JAX."""

import os
import sys
from importlib import util
from pathlib import Path

_TPU_PACKAGE, _GPU_PACKAGE = "libtpu", "jax_plugins"  # the namespace of the CUDA and ROCm plugins
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"
_TUNABLES = "GLIBC_TUNABLES"
_LARGE_PAGES = "glibc.malloc.hugetlb"
_KERNEL_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def runs_on_cpu(platforms: str | None) -> bool:
    """Return whether JAX will compute on the CPU, without importing an accelerator's package.

    Args:
      platforms: JAX_PLATFORMS; None or empty takes an accelerator if one is there.
    """
    if platforms:
        return platforms == "cpu"
    # libtpu is also where `t5lite compile` compiles for TPUs that are elsewhere.
    on_tpu = util.find_spec(_TPU_PACKAGE) is not None and _GOOGLE in _pci_vendors()
    return not on_tpu and util.find_spec(_GPU_PACKAGE) is None


def _pci_vendors() -> set[str]:
    """Return the vendors of the devices in this machine; none where the system does not list them."""
    try:
        return {file.read_text(encoding="ascii").strip() for file in _PCI_DEVICES.glob("*/vendor")}
    except OSError:
        return set()


def restart_with_large_pages() -> None:
    """Start this program anew, with memory in pages of 2 MiB; return where that cannot help.

    XLA:CPU takes the memory of every step anew, and with pages of 4 KiB the kernel's work on them is an
    eighth to a quarter of the step. The C library asks for large pages if GLIBC_TUNABLES says so, which it
    reads when a program starts and at no other time. A user's own glibc.malloc.hugetlb wins (0 is off).
    """
    given = os.environ.get(_TUNABLES, "")
    if _LARGE_PAGES in given or not runs_on_cpu(os.environ.get("JAX_PLATFORMS")):
        return
    try:
        on_request = "[madvise]" in _KERNEL_SETTING.read_text(encoding="ascii")
    except OSError:  # not Linux, or a kernel without them
        return
    if on_request:
        os.environ[_TUNABLES] = ":".join(filter(None, [given, f"{_LARGE_PAGES}=1"]))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

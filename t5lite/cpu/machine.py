"""Whether a command will compute on a CPU, and on which kind. Imports no JAX."""

import hashlib
import platform
from importlib import util
from pathlib import Path

_TPU_PACKAGE, _GPU_PACKAGE = "libtpu", "jax_plugins"  # the namespace of the CUDA and ROCm plugins
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"


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


def fingerprint() -> str:
    """Return a name for this kind of CPU: a program compiled for one may use instructions another lacks."""
    described = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    for name in ("model name", "flags", "Features"):  # the last is what Arm calls its flags
        described += [line for line in lines if line.partition("\t")[0].strip() == name][:1]
    return "cpu-" + hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]


def _pci_vendors() -> set[str]:
    """Return the vendors of the devices in this machine; none where the system does not list them."""
    try:
        return {file.read_text(encoding="ascii").strip() for file in _PCI_DEVICES.glob("*/vendor")}
    except OSError:
        return set()

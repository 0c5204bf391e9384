"""Runs a worker script in a process with eight CPU devices (their number is fixed when JAX starts)."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

HERE = Path(__file__).parent
XLA_FLAGS = (
    f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8 "
    # Eight devices share the cores with other tests: XLA aborts when one is 40 s late for a collective.
    "--xla_cpu_collective_call_terminate_timeout_seconds=240"
)
STUCK = "rendezvous"
"""In what XLA says before it aborts. On few cores its threads can all wait in collectives of which no two are
the same (seen once, with Llama 2's step): a fault of the library, and the next try goes through."""
if metadata.version("jaxlib").startswith("0.10."):
    # The older emitters, which jaxlib 0.11 no longer has, halve once more what is left of compilation.
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"


@pytest.fixture(scope="session")
def run_on_eight_devices():
    """A function ``script name -> what it prints, parsed as JSON``."""

    def run(script):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": XLA_FLAGS,
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, HERE / script],
                env=environment,
                capture_output=True,
                text=True,
                timeout=1200,
                check=False,
            )
            if done.returncode >= 0 or STUCK not in done.stderr:
                break
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    return run

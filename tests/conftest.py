"""Settings that every test shares.

CPU, strict rank promotion, one persistent compilation cache a run; and an example of a property may take as
long as a busy machine needs for it.
"""

import gc
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "t5lite-test-compilation-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("MPLBACKEND", "agg")

# Nearly all the time of a test that computes is compilation. Unoptimised code compiles in half of it, and
# runs fast enough at these sizes; what tests start inherits it.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

# gcsfs reads it when it is imported; else it waits a minute for a service that no local server has.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Older emitters, which jaxlib 0.11 no longer has, halve the rest. XLA reads its flags with the first backend;
# libtpu, which does not know this one and would end the process over it, reads them later.
if metadata.version("jaxlib").startswith("0.10."):
    _flags = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = f"{_flags} --xla_cpu_use_fusion_emitters=false"
    jax.devices()
    os.environ["XLA_FLAGS"] = _flags

# A shell that starts the tests in the background has them ignore Ctrl-C, nohup a hang-up, and so would every
# process that they start; some of them test what these do.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# What is imported stays, and what is traced soon dies by itself: with Python's thresholds the collector goes
# through both thousands of times, for an eighth of the time of a test that compiles.
gc.set_threshold(50_000, 20, 50)


def pytest_collection_finish() -> None:
    """What was imported stays until the end; nobody looks for garbage in it."""
    gc.collect()
    gc.freeze()


_MANY_MAPPINGS, _TOO_MANY_MAPPINGS = 20_000, 40_000
"""Of the 65,530 that Linux allows a process by default; one too many ends it while it compiles."""
_A_COMPILATION = 0.2
"""Seconds; a test that is faster has hardly compiled, and to count mappings takes some milliseconds."""


def _let_programs_go(limit: int) -> None:
    """Drop JAX's compiled programs where there are many: each is some mappings of memory."""
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > limit:
        jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def _programs_of_a_file_are_let_go() -> Iterator[None]:
    yield
    _let_programs_go(_MANY_MAPPINGS)


@pytest.fixture(autouse=True)
def _programs_of_many_tests_are_let_go() -> Iterator[None]:
    """Between tests of one file, too: some make 45,000 mappings."""
    start = time.perf_counter()
    yield
    if time.perf_counter() - start > _A_COMPILATION:
        _let_programs_go(_TOO_MANY_MAPPINGS)


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """The address of a bucket of a local GCS; processes that are started find the server too."""
    from tests import storage_servers  # only those tests pay for it

    with storage_servers.gcs_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in storage_servers.gcs_environment(url).items():
            patch.setenv(name, value)
        yield f"gs://{storage_servers.BUCKET}"


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket of a local S3; processes that are started find the server too."""
    from tests import storage_servers

    with storage_servers.s3_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in storage_servers.s3_environment(url).items():
            patch.setenv(name, value)
        yield f"s3://{storage_servers.BUCKET}"


@pytest.fixture(params=["gcs", "s3"])
def bucket(request: pytest.FixtureRequest) -> str:
    """The address of a folder of its own in either."""
    name = re.sub(r"\W+", "-", request.node.name)
    return f"{request.getfixturevalue(request.param)}/{name}"

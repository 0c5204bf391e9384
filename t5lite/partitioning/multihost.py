"""Start-up of a run that spans several processes, and what they must agree on."""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from t5lite.core.errors import ConfigError, ReportedError
from t5lite.core.exit_codes import ExitCode

_ONE_TPU_HOST = "TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1"
"""What tells libtpu to use the four chips of one host of a slice and no other host."""


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join this process to the run. Call before anything that asks JAX for devices.

    With all three arguments the processes are joined as told; ``num_processes=1`` is a no-op. Without
    any, JAX's own detection is used where a cluster is seen (Cloud TPU, GKE, Slurm, Open MPI), and a
    process that stands alone is left alone. A second call does nothing.

    Under Slurm, JAX gives every task the one local device of its rank (``SLURM_LOCALID``): start one task
    a GPU, or name the devices of a task in ``JAX_LOCAL_DEVICE_IDS``.

    Args:
      coordinator_address: ``host:port`` of process 0, reachable from every process.
      num_processes: processes of the whole run.
      process_id: this one, from 0.

    Raises:
      ConfigError: for incomplete or contradictory arguments, or a cluster that does not say enough.
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    if jax.distributed.is_initialized() or num_processes == 1:
        return
    if all(value is None for value in given.values()):
        cluster = detected_cluster()
        if cluster:
            _initialize_from(cluster)
        return
    if coordinator_address is None or num_processes is None or process_id is None:
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise ConfigError(
            "a run of several processes needs coordinator_address, num_processes and process_id together; "
            f"missing {missing}"
        )
    if not 0 <= process_id < num_processes:
        raise ConfigError(
            f"process_id={process_id} must be in 0..{num_processes - 1} for num_processes={num_processes}"
        )
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"coordinator_address={coordinator_address!r} must be host:port, e.g. 10.0.0.2:8476"
        )
    jax.distributed.initialize(coordinator_address, num_processes, process_id)


def detected_cluster() -> str | None:
    """Return the name of the cluster whose environment this process runs in, None when it stands alone.

    JAX's detection raises the same error for "no cluster" and for some faults of a cluster, so what we
    hand to it is decided here, by the variables that it reads.
    """
    environment = os.environ
    if "SLURM_STEP_NODELIST" in environment and int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "Slurm"
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return "Open MPI"
    # `import jax` sets TPU_SKIP_MDS_QUERY on a machine without TPU chips.
    if "TPU_SKIP_MDS_QUERY" not in environment:
        return "Cloud TPU"
    if "TPU_WORKER_HOSTNAMES" in environment or "TPU_PROCESS_ADDRESSES" in environment:
        return "GKE TPU"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes Job"
    return None


def one_process_note() -> str | None:
    """Return what a command that runs in one process must say on a machine that belongs to several.

    Such a command never joins the others. On Slurm or Open MPI it is then alone with the devices of its
    host; on the hosts of a TPU slice libtpu would wait for the others, unless it is told not to.

    Returns:
      One line, or None where there is nothing to say.
    """
    cluster = detected_cluster()
    if cluster is None or os.environ.get("JAX_PLATFORMS") == "cpu" or "TPU_PROCESS_BOUNDS" in os.environ:
        return None
    if cluster not in ("Cloud TPU", "GKE TPU"):
        return f"this command runs in one process: start it in one task of the {cluster} run only"
    hosts = os.environ.get("TPU_WORKER_HOSTNAMES")
    if hosts is not None and "," not in hosts:
        return None
    return (
        "this command runs on one host; should it wait for the others of a TPU slice, set JAX_PLATFORMS=cpu, "
        f"or {_ONE_TPU_HOST} for the chips of this host"
    )


def is_leader() -> bool:
    """Whether this process writes what only one may write (metrics, reports, console output)."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process has reached the barrier of this name; a no-op for a single process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def as_the_leader_says(answer: bool) -> bool:
    """Return the leader's answer in every process: for what it alone can know, such as a file it writes."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(answer)))


def leaders_value(value: Any) -> Any:
    """Return the leader's ``value``, JSON-able, in every process."""
    if jax.process_count() == 1:
        return value
    content = _encoded(value)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.resize(content, size)  # of the others nothing but the size is used
    return _decoded(multihost_utils.broadcast_one_to_all(padded))


def every_process(value: Any) -> list[Any]:
    """Return the ``value``, JSON-able, of each process, in every process."""
    if jax.process_count() == 1:
        return [value]
    content = _encoded(value)
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(content)))).ravel()
    padded = np.pad(content, (0, int(sizes.max()) - len(content)))
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [_decoded(row[:size]) for row, size in zip(rows, sizes, strict=True)]


def _encoded(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _decoded(content: Any) -> Any:
    return json.loads(np.asarray(content).tobytes())


def any_process(answer: bool) -> bool:
    """Return, in every process, whether the answer of any is yes."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.process_allgather(np.asarray(answer)).any())


def _initialize_from(cluster: str) -> None:
    try:
        jax.distributed.initialize()
    except ValueError as error:
        if cluster in ("Cloud TPU", "GKE TPU"):
            return  # TPU chips without the metadata of a pod: a notebook machine, one process
        raise ConfigError(
            f"this looks like a process of a {cluster} run, but JAX could not join it ({error}); pass "
            "coordinator_address, num_processes and process_id, or num_processes=1 to run alone"
        ) from error


@contextmanager
def failing_fast() -> Iterator[None]:
    """End the process at once if the block raises and other processes take part in the run.

    An ordinary exit would wait minutes in JAX's shutdown barrier for processes that in turn wait for this
    one in a collective; gone, it is noticed by the launcher and by the others. Exit codes are those of
    ``ExitCode``, 1 for a bug. A process that is alone raises as usual.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if jax.process_count() == 1:
            raise
        code = 1
        if isinstance(error, ReportedError):
            code = error.exit_code
            print(f"t5lite: process {jax.process_index()}: {error}", file=sys.stderr)
        elif isinstance(error, KeyboardInterrupt):
            code = ExitCode.INTERRUPTED
            print(f"t5lite: process {jax.process_index()}: interrupted", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
